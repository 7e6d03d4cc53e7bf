use axum::{
    Json,
    extract::Request,
    http::{HeaderValue, StatusCode, header},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use tracing::Instrument as _;
use uuid::Uuid;

use super::Problem;

const REQUEST_ID: &str = "x-request-id";
/// A longer id from outside is replaced: it goes into every log line.
const REQUEST_ID_BYTES_MAX: usize = 64;

/// The request's id, in the extensions.
#[derive(Clone)]
pub struct RequestId(pub String);

/// The outermost layer: gives the request its id and log span, and writes out
/// every refusal, also those that axum makes itself, as problem+json.
pub async fn finish(mut request: Request, next: Next) -> Response {
    let id = request
        .headers()
        .get(REQUEST_ID)
        .and_then(|it| it.to_str().ok())
        .filter(|it| is_sane(it))
        .map_or_else(|| Uuid::now_v7().to_string(), str::to_owned);
    request.extensions_mut().insert(RequestId(id.clone()));
    let span = tracing::info_span!("request", request.id = %id,
        http.method = %request.method(), http.path = request.uri().path());

    let mut response = next.run(request).instrument(span).await;
    if let Some(problem) = problem_of(&mut response) {
        response = write(problem, &id, response);
    }
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    response
}

/// The same for refusals alone, where answers have to be quick.
pub async fn finish_refusal(mut response: Response) -> Response {
    match problem_of(&mut response) {
        Some(problem) => write(problem, &Uuid::now_v7().to_string(), response),
        None => response,
    }
}

pub async fn not_found() -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        "request.not_found",
        "There is nothing at this address. The API is described at /docs.",
    )
}

/// What a handler that panicked answers.
pub fn panicked() -> Response {
    tracing::error!("a request handler panicked");
    Problem::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        "internal",
        "Something went wrong on our side. The log of the manager has it under this request id.",
    )
    .into_response()
}

pub async fn method_not_allowed() -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "request.method_not_allowed",
        "This address does not take this method.",
    )
}

fn problem_of(response: &mut Response) -> Option<Problem> {
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        return Some(problem);
    }
    // What a layer of the framework refused by itself.
    let (code, detail) = match response.status() {
        StatusCode::PAYLOAD_TOO_LARGE => ("request.too_large", "The body is too large."),
        StatusCode::REQUEST_TIMEOUT | StatusCode::GATEWAY_TIMEOUT => {
            ("request.timeout", "The request took too long.")
        }
        _ => return None,
    };
    Some(Problem::new(response.status(), code, detail))
}

fn write(mut problem: Problem, id: &str, response: Response) -> Response {
    problem.request_id = id.to_owned();
    let retry_after = problem.retry_after;
    let mut written = (problem.status(), Json(problem)).into_response();
    // `Allow` of a 405 and what else was set on the way out.
    for (name, value) in response.headers() {
        if name != header::CONTENT_LENGTH && name != header::CONTENT_TYPE {
            written.headers_mut().append(name, value.clone());
        }
    }
    let json = HeaderValue::from_static("application/problem+json");
    written.headers_mut().insert(header::CONTENT_TYPE, json);
    if let Some(seconds) = retry_after {
        written
            .headers_mut()
            .insert(header::RETRY_AFTER, seconds.into());
    }
    written
}

fn is_sane(id: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    !id.is_empty() && id.len() <= REQUEST_ID_BYTES_MAX && id.chars().all(allowed)
}
