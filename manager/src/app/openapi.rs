use axum::Router;
use utoipa::{
    OpenApi,
    openapi::security::{ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityScheme},
};
use utoipa_axum::router::OpenApiRouter;
use utoipa_swagger_ui::SwaggerUi;

/// Where the document is.
const DOCUMENT_PATH: &str = "/api/v1/openapi.json";

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
pub(super) fn pages(document: utoipa::openapi::OpenApi) -> Router {
    SwaggerUi::new("/docs").url(DOCUMENT_PATH, document).into()
}

/// The document as `manager/openapi.json` holds it: for the test that keeps it
/// current. `core` need not run.
pub fn document(json: &[u8]) -> serde_json::Result<String> {
    let value: serde_json::Value = serde_json::from_slice(json)?;
    Ok(serde_json::to_string_pretty(&value)? + "\n")
}
