use axum::{
    extract::Request,
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use rust_embed::{EmbeddedFile, RustEmbed};

use crate::web;

/// The built dashboard, with `.br` and `.gz` beside what compresses.
#[derive(RustEmbed)]
#[folder = "dashboard/dist"]
struct Files;

const IMMUTABLE: &str = "public, max-age=31536000, immutable";

/// The dashboard's files; any other page address gets its index, which routes
/// in the browser. API addresses that do not exist stay 404.
pub(super) async fn serve(request: Request) -> Response {
    let path = request.uri().path().trim_start_matches('/');
    let api = ["api/", "internal/", "shim/", "mqtt/"]
        .iter()
        .any(|it| path.starts_with(it));
    let readable = matches!(*request.method(), Method::GET | Method::HEAD);
    if api || !readable {
        return web::not_found().await.into_response();
    }
    if let Some(response) = file(path, request.headers()) {
        return response;
    }
    // A file that is asked for by name and is not there is not a page.
    if path.starts_with("assets/") || path.rsplit('/').next().is_some_and(|it| it.contains('.')) {
        return web::not_found().await.into_response();
    }
    file("index.html", request.headers()).unwrap_or_else(|| StatusCode::NOT_FOUND.into_response())
}

fn file(path: &str, headers: &HeaderMap) -> Option<Response> {
    // The compressed twins are not pages of their own.
    if path.ends_with(".br") || path.ends_with(".gz") {
        return None;
    }
    let plain = Files::get(path)?;
    let (encoding, found) = encoded(path, headers).unwrap_or((None, plain));
    let etag = format!("\"{}\"", hex(&found.metadata.sha256_hash()[..16]));
    let cache = if path.starts_with("assets/") {
        IMMUTABLE
    } else {
        "no-cache"
    };
    let kind = mime_guess::from_path(path).first_or_octet_stream();
    let mut answer = HeaderMap::new();
    let mut set = |name: HeaderName, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            answer.insert(name, value);
        }
    };
    set(header::ETAG, &etag);
    set(header::CACHE_CONTROL, cache);
    set(header::VARY, "accept-encoding");
    let known = headers
        .get(header::IF_NONE_MATCH)
        .and_then(|it| it.to_str().ok());
    if known.is_some_and(|it| it.split(',').any(|it| it.trim() == etag)) {
        return Some((StatusCode::NOT_MODIFIED, answer).into_response());
    }
    set(header::CONTENT_TYPE, &with_charset(kind.essence_str()));
    if let Some(encoding) = encoding {
        set(header::CONTENT_ENCODING, encoding);
    }
    Some((answer, found.data).into_response())
}

/// The best compressed twin that the client takes.
fn encoded(path: &str, headers: &HeaderMap) -> Option<(Option<&'static str>, EmbeddedFile)> {
    let accepted = headers.get(header::ACCEPT_ENCODING)?.to_str().ok()?;
    let takes = |name: &str| {
        accepted.split(',').any(|it| {
            let (coding, weight) = it.split_once(';').unwrap_or((it, ""));
            coding.trim() == name && !matches!(weight.trim(), "q=0" | "q=0.0")
        })
    };
    [("br", "br"), ("gzip", "gz")]
        .into_iter()
        .filter(|(name, _)| takes(name))
        .find_map(|(name, ending)| Some((Some(name), Files::get(&format!("{path}.{ending}"))?)))
}

fn with_charset(kind: &str) -> String {
    if kind.starts_with("text/") || kind == "application/javascript" {
        format!("{kind}; charset=utf-8")
    } else {
        kind.to_owned()
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Headers that every answer carries. Instances are same-site siblings: none
/// may frame the dashboard or read its answers.
pub(super) async fn security_headers(request: Request, next: Next) -> Response {
    let path = request.uri().path();
    // The API's browsable page brings an inline style and script of its own.
    let policy = if path.starts_with("/docs") {
        "default-src 'self'; style-src 'self' 'unsafe-inline'; script-src 'self' 'unsafe-inline'; img-src 'self' data:; \
         frame-ancestors 'none'; base-uri 'none'"
    } else {
        "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'; \
         base-uri 'none'; form-action 'self'; object-src 'none'"
    };
    let private = path.starts_with("/api/");
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    let mut set = |name: HeaderName, value: &'static str| {
        headers
            .entry(name)
            .or_insert(HeaderValue::from_static(value));
    };
    set(header::CONTENT_SECURITY_POLICY, policy);
    set(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(header::X_FRAME_OPTIONS, "DENY");
    set(header::REFERRER_POLICY, "same-origin");
    set(
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    );
    set(
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    );
    if private {
        set(header::CACHE_CONTROL, "no-store");
    }
    response
}
