use std::{sync::OnceLock, time::Instant};

use axum::{
    Router,
    extract::{MatchedPath, Request},
    http::{HeaderMap, header},
    middleware::Next,
    response::{IntoResponse, Response},
    routing::get,
};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

use crate::{
    kernel::Actor,
    web::{self, Problem},
};

const LATENCY_BUCKETS: &[f64] = &[0.001, 0.005, 0.02, 0.1, 0.5, 2.0, 10.0];

/// One recorder a process, whichever app is first.
fn recorder() -> Option<&'static PrometheusHandle> {
    static RECORDER: OnceLock<Option<PrometheusHandle>> = OnceLock::new();
    RECORDER
        .get_or_init(|| {
            PrometheusBuilder::new()
                .set_buckets(LATENCY_BUCKETS)
                .ok()?
                .install_recorder()
                .ok()
        })
        .as_ref()
}

pub(super) fn router() -> Router {
    recorder();
    Router::new().route("/metrics", get(render))
}

/// For a scraper on the host. Through the proxy only an administrator sees
/// them.
async fn render(headers: HeaderMap, request: Request) -> Response {
    let admin = request
        .extensions()
        .get::<Actor>()
        .and_then(Actor::user)
        .is_some_and(|it| it.is_admin);
    if headers.contains_key("x-forwarded-for") && !admin {
        return web::not_found().await.into_response();
    }
    let Some(recorder) = recorder() else {
        return Problem::forbidden(
            "metrics.unavailable",
            "Another part of this process took the metrics.",
        )
        .into_response();
    };
    recorder.run_upkeep();
    (
        [(header::CONTENT_TYPE, "text/plain; version=0.0.4")],
        recorder.render(),
    )
        .into_response()
}

/// Counts and times every request, by route and not by path.
pub(super) async fn measure(request: Request, next: Next) -> Response {
    let began = Instant::now();
    let method = request.method().to_string();
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or_else(|| "other".to_owned(), |it| it.as_str().to_owned());
    let response = next.run(request).await;
    let status = response.status().as_u16().to_string();
    metrics::counter!("openflow_http_requests_total", "method" => method, "route" => route.clone(), "status" => status)
        .increment(1);
    metrics::histogram!("openflow_http_request_seconds", "route" => route)
        .record(began.elapsed().as_secs_f64());
    response
}
