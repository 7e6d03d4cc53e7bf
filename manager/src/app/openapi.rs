use axum::Router;
use utoipa::{
    OpenApi,
    openapi::security::{ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityScheme},
};
use utoipa_axum::router::OpenApiRouter;
use utoipa_swagger_ui::SwaggerUi;

/// Where the document is.
const DOCUMENT_PATH: &str = "/api/v1/openapi.json";
const BASE: &str = "/api/v1";

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Openflow",
        description = "Node-RED and n8n instances on your own Docker host. Sign in with a session cookie (browsers) or \
                       `Authorization: Bearer ofp_…` (programs; make a token at POST /api/v1/me/tokens). Errors are \
                       application/problem+json (RFC 9457) with a stable `code`.",
        license(name = "MIT")
    ),
    modifiers(&Security),
    security(("token" = []), ("session" = []))
)]
struct Document;

struct Security;

impl utoipa::Modify for Security {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let components = document.components.get_or_insert_with(Default::default);
        components.add_security_scheme(
            "token",
            SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)),
        );
        let cookie = ApiKeyValue::new("__Host-openflow_session");
        components.add_security_scheme("session", SecurityScheme::ApiKey(ApiKey::Cookie(cookie)));
    }
}

/// What the slices' routers are merged into.
pub(super) fn router() -> OpenApiRouter {
    OpenApiRouter::with_openapi(Document::openapi())
}

/// The document and the page to browse it.
pub(super) fn pages(mut document: utoipa::openapi::OpenApi) -> Router {
    name_operations(&mut document);
    SwaggerUi::new("/docs").url(DOCUMENT_PATH, document).into()
}

/// Generators of clients want each operation's id to be its own; the handlers'
/// names repeat from slice to slice.
fn name_operations(document: &mut utoipa::openapi::OpenApi) {
    for (path, item) in &mut document.paths.paths {
        let methods = [
            ("get", &mut item.get),
            ("post", &mut item.post),
            ("put", &mut item.put),
            ("patch", &mut item.patch),
            ("delete", &mut item.delete),
        ];
        for (method, operation) in methods {
            if let Some(operation) = operation {
                operation.operation_id = Some(operation_id(method, path));
            }
        }
    }
}

/// `getInstancesByIdEnv` for GET `/api/v1/instances/{id}/env`.
fn operation_id(method: &str, path: &str) -> String {
    let mut id = method.to_owned();
    let path = path.strip_prefix(BASE).unwrap_or(path);
    for segment in path.split('/').filter(|it| !it.is_empty()) {
        let placeholder = segment
            .strip_prefix('{')
            .and_then(|it| it.strip_suffix('}'));
        if placeholder.is_some() {
            id.push_str("By");
        }
        for word in placeholder.unwrap_or(segment).split(['-', '.']) {
            let mut chars = word.chars();
            id.extend(chars.next().map(|it| it.to_ascii_uppercase()));
            id.push_str(chars.as_str());
        }
    }
    id
}

/// The document as `manager/openapi.json` holds it: for the test that keeps it
/// current. `core` need not run.
pub fn document(json: &[u8]) -> serde_json::Result<String> {
    let value: serde_json::Value = serde_json::from_slice(json)?;
    Ok(serde_json::to_string_pretty(&value)? + "\n")
}
