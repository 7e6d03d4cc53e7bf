use std::{collections::BTreeMap, error::Error};

use axum::{
    extract::rejection::{JsonRejection, PathRejection, QueryRejection},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::kernel::{DomainError, Kind};

/// An RFC 9457 answer (`application/problem+json`). The only error type that a
/// handler returns; [`super::finish`] writes it out with the request's id.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// `/problems/<code>`.
    #[serde(rename = "type")]
    uri: String,
    title: &'static str,
    status: u16,
    /// What happened and what to do, for a person.
    detail: String,
    /// Stable name of the problem, as in `instance.subdomain_taken`.
    code: &'static str,
    /// What is wrong, by field of the body; with status 422.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    errors: BTreeMap<String, Vec<String>>,
    /// Also in the log, so that a report finds its line.
    pub(super) request_id: String,
    /// Seconds to wait, sent as `Retry-After`.
    #[serde(skip)]
    pub(super) retry_after: Option<u64>,
}

impl<E: DomainError> From<E> for Problem {
    fn from(error: E) -> Self {
        let kind = error.kind();
        let detail = match kind {
            Kind::Internal => {
                tracing::error!(error = &error as &dyn Error, "request failed: {error}");
                "Something went wrong on our side. The log of the manager has it under this request id.".to_owned()
            }
            Kind::Unavailable => {
                tracing::warn!(error = &error as &dyn Error, "request failed: {error}");
                error.to_string()
            }
            _ => error.to_string(),
        };
        let mut problem = Self::new(status_of(kind), error.code(), detail);
        if let Some(field) = error.field() {
            problem
                .errors
                .insert(field.to_owned(), vec![problem.detail.clone()]);
        }
        if matches!(kind, Kind::Unavailable | Kind::RateLimited) {
            problem.retry_after = Some(error.retry_after_seconds().unwrap_or(5));
        }
        problem
    }
}

impl From<JsonRejection> for Problem {
    fn from(rejection: JsonRejection) -> Self {
        let code = match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => "request.too_large",
            StatusCode::UNSUPPORTED_MEDIA_TYPE => "request.not_json",
            _ => "request.malformed",
        };
        Self::new(rejection.status(), code, rejection.body_text())
    }
}

impl From<PathRejection> for Problem {
    fn from(rejection: PathRejection) -> Self {
        // A path that cannot be an id's names nothing.
        Self::new(
            StatusCode::NOT_FOUND,
            "request.not_found",
            rejection.body_text(),
        )
    }
}

impl From<QueryRejection> for Problem {
    fn from(rejection: QueryRejection) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "request.malformed",
            rejection.body_text(),
        )
    }
}

impl Problem {
    pub fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self {
            uri: format!("/problems/{code}"),
            title: status.canonical_reason().unwrap_or("Problem"),
            status: status.as_u16(),
            detail: detail.into(),
            code,
            errors: BTreeMap::new(),
            request_id: String::new(),
            retry_after: None,
        }
    }

    pub fn unauthenticated() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "auth.required",
            "Sign in, or send a personal access token as `Authorization: Bearer ofp_…`.",
        )
    }

    pub fn forbidden(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, code, detail)
    }

    pub fn invalid_field(code: &'static str, field: &str, detail: impl Into<String>) -> Self {
        let mut problem = Self::new(StatusCode::UNPROCESSABLE_ENTITY, code, detail);
        problem
            .errors
            .insert(field.to_owned(), vec![problem.detail.clone()]);
        problem
    }

    pub(super) fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.status().into_response();
        response.extensions_mut().insert(self);
        response
    }
}

fn status_of(kind: Kind) -> StatusCode {
    match kind {
        Kind::Invalid => StatusCode::UNPROCESSABLE_ENTITY,
        Kind::Unauthenticated => StatusCode::UNAUTHORIZED,
        Kind::Forbidden | Kind::LimitReached => StatusCode::FORBIDDEN,
        Kind::NotFound => StatusCode::NOT_FOUND,
        Kind::Conflict => StatusCode::CONFLICT,
        Kind::Gone => StatusCode::GONE,
        Kind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Kind::RateLimited => StatusCode::TOO_MANY_REQUESTS,
        Kind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Kind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}
