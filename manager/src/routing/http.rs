//! For the proxy only. Not part of the public API: see `docs/wire.md`.
use std::time::Duration;

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use serde::Deserialize;

use super::Feed;
use crate::{
    access::http::require_proxy,
    kernel::Secret,
    web::{Problem, Query},
};

const WAIT_SECONDS_MAX: u64 = 30;
const FIRST_TABLE_SECONDS: u64 = 3;

#[derive(Clone)]
struct Side {
    feed: Feed,
    secret: Secret,
}

pub fn router(feed: Feed, secret: Secret) -> Router {
    Router::new()
        .route("/internal/v1/routes", get(routes))
        .with_state(Side { feed, secret })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RoutesQuery {
    after: Option<String>,
    #[serde(default)]
    wait_seconds: u64,
}

async fn routes(
    State(side): State<Side>,
    headers: HeaderMap,
    Query(query): Query<RoutesQuery>,
) -> Result<Response, Problem> {
    require_proxy(&headers, &side.secret)?;
    // A proxy that has nothing yet waits for a manager that has just started.
    let least = if query.after.is_none() {
        FIRST_TABLE_SECONDS
    } else {
        0
    };
    let wait = Duration::from_secs(query.wait_seconds.clamp(least, WAIT_SECONDS_MAX));
    match side.feed.newer(query.after.as_deref(), wait).await {
        Some(made) => Ok(([(header::CONTENT_TYPE, "application/json")], made.json).into_response()),
        None if query.after.is_some() => Ok(StatusCode::NO_CONTENT.into_response()),
        None => Err(Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "routes.not_ready",
            "There is no route table yet: the database has not answered so far.",
        )),
    }
}
