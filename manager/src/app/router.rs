//! All that the manager answers, and the layers that requests pass.
use std::time::Duration;

use axum::{Router, extract::DefaultBodyLimit, http::StatusCode, middleware};
use tower_http::{catch_panic::CatchPanicLayer, timeout::TimeoutLayer};

use super::{
    Secrets, System, dashboard, health, instance_side::InstanceSide, metrics, openapi,
    slices::Slices,
};
use crate::{
    access,
    audit::{self, Audit},
    backups,
    identity::{self, Identity},
    instances, mqtt, routing, snapshots, stacks, web,
};

const BODY_BYTES_MAX: usize = 2 << 20;
/// Until an answer begins; streams go on after that.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

pub(super) fn router(
    secrets: &Secrets,
    system: &System,
    slices: &Slices,
    instance_side: &InstanceSide,
) -> Router {
    let (api, document) = api(system, slices).split_for_parts();
    let slow = backups::http::slow_router(slices.backups.clone());
    let (slow, slow_document) = slow.split_for_parts();
    let pages = openapi::pages(document.merge_from(slow_document));
    let identity = &slices.identity;
    let quick = for_people(api.merge(pages), identity).merge(for_programs(secrets, slices));
    let all = answering_in_time(quick).merge(signed_in(slow, identity));
    with_layers(all, instance_side).merge(for_the_broker(secrets, system))
}

fn api(system: &System, slices: &Slices) -> utoipa_axum::router::OpenApiRouter {
    let (db, runtime) = (system.db.clone(), system.runtime.clone());
    let before_upgrade = std::sync::Arc::new(slices.snapshots.clone());
    let instances = slices.instances.clone().telling(before_upgrade);
    openapi::router()
        .merge(health::router(db.clone(), runtime, slices.mqtt.clone()))
        .merge(identity::http::router(slices.identity.clone()))
        .merge(audit::http::router(Audit::new(db)))
        .merge(stacks::http::router(slices.stacks.clone()))
        .merge(stacks::templates::http::router(slices.templates.clone()))
        .merge(instances::http::router(instances))
        .merge(snapshots::http::router(slices.snapshots.clone()))
        .merge(mqtt::http::router(slices.mqtt.clone()))
        .merge(mqtt::traffic::http::router(slices.traffic.clone()))
        .merge(backups::http::router(slices.backups.clone()))
}

/// What the proxy, instances and the broker ask, each with a secret of its own.
fn for_programs(secrets: &Secrets, slices: &Slices) -> Router {
    let (access, proxy) = (&slices.access, &secrets.proxy);
    Router::new()
        .merge(access::http::proxy_router(access.clone(), proxy.clone()))
        .merge(access::http::shim_router(access.clone()))
        .merge(snapshots::shim::router(slices.snapshots.clone()))
        .merge(routing::http::router(slices.feed.clone(), proxy.clone()))
        .method_not_allowed_fallback(web::method_not_allowed)
}

/// By itself: a whole site of devices that connects anew asks thousands of
/// times a second, and the hook counts and refuses by its own means.
fn for_the_broker(secrets: &Secrets, system: &System) -> Router {
    let (secret, clock) = (secrets.hook.clone(), system.clock.clone());
    mqtt::hook::router(system.mqtt.clone(), secret, clock)
        .method_not_allowed_fallback(web::method_not_allowed)
        .layer(TimeoutLayer::with_status_code(
            StatusCode::GATEWAY_TIMEOUT,
            ANSWER_TIMEOUT,
        ))
        .layer(CatchPanicLayer::custom(|_| web::panicked()))
        .layer(middleware::map_response(web::finish_refusal))
}

/// What browsers and programs of people use: whoever asks is found out, and
/// changes from other sites' pages are refused.
fn for_people(api: Router, identity: &Identity) -> Router {
    let all = api.merge(metrics::router()).fallback(dashboard::serve);
    signed_in(all, identity)
}

fn signed_in(router: Router, identity: &Identity) -> Router {
    router
        .method_not_allowed_fallback(web::method_not_allowed)
        .layer(middleware::from_fn(web::refuse_cross_site))
        .layer(middleware::from_fn_with_state(
            identity.clone(),
            identity::authenticate,
        ))
}

/// For all but what receives whole files.
fn answering_in_time(router: Router) -> Router {
    router.layer(TimeoutLayer::with_status_code(
        StatusCode::GATEWAY_TIMEOUT,
        ANSWER_TIMEOUT,
    ))
}

/// What every request passes, the last one first.
fn with_layers(router: Router, instance_side: &InstanceSide) -> Router {
    router
        .layer(middleware::from_fn_with_state(
            instance_side.clone(),
            InstanceSide::guard,
        ))
        .layer(middleware::from_fn(dashboard::security_headers))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(CatchPanicLayer::custom(|_| web::panicked()))
        .layer(middleware::from_fn(metrics::measure))
        .layer(middleware::from_fn(web::finish))
}
