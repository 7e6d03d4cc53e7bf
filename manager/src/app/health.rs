use std::{collections::BTreeMap, sync::Arc};

use axum::{extract::State, http::StatusCode};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    db::Db,
    mqtt::{BrokerError, Mqtt},
    runtime::{Isolation, Runtime},
    web::Json,
};

#[derive(Clone)]
struct Dependencies {
    db: Db,
    runtime: Arc<dyn Runtime>,
    mqtt: Mqtt,
}

pub(super) fn router(db: Db, runtime: Arc<dyn Runtime>, mqtt: Mqtt) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(health))
        .routes(routes!(live))
        .routes(routes!(ready))
        .with_state(Dependencies { db, runtime, mqtt })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Overall {
    Ok,
    /// Something is away that not every request needs.
    Degraded,
    /// Nothing works without it.
    Unavailable,
}

#[derive(Debug, Serialize, ToSchema)]
struct Health {
    status: Overall,
    version: &'static str,
}

#[derive(Debug, Serialize, ToSchema)]
struct Readiness {
    status: Overall,
    /// `database`, `docker`, `isolation` (the rules that keep instances off the
    /// host's services) and `mqtt`.
    dependencies: BTreeMap<&'static str, DependencyState>,
}

#[derive(Debug, Serialize, ToSchema)]
struct DependencyState {
    /// `up`, `down`, `degraded`, `disabled` or `unknown`.
    status: &'static str,
    /// What is wrong and what to do, or which one it is.
    detail: Option<String>,
}

fn state(status: &'static str, detail: impl Into<Option<String>>) -> DependencyState {
    DependencyState {
        status,
        detail: detail.into(),
    }
}

/// Whether the manager runs
#[utoipa::path(get, path = "/api/v1/health", tag = "health", responses((status = 200, body = Health)))]
async fn health() -> Json<Health> {
    Json(Health {
        status: Overall::Ok,
        version: env!("CARGO_PKG_VERSION"),
    })
}

/// Whether the process lives
#[utoipa::path(get, path = "/api/v1/health/live", tag = "health", responses((status = 200, body = Health)))]
async fn live() -> Json<Health> {
    health().await
}

/// Whether requests can be served, and how each dependency is
#[utoipa::path(get, path = "/api/v1/health/ready", tag = "health",
    responses((status = 200, body = Readiness), (status = 503, body = Readiness)))]
async fn ready(State(it): State<Dependencies>) -> (StatusCode, Json<Readiness>) {
    let (database, docker, mqtt) = tokio::join!(it.db.ping(), it.runtime.ping(), it.mqtt.ping());
    let status = match (&database, &docker) {
        (Err(_), _) => Overall::Unavailable,
        (Ok(()), Err(_)) => Overall::Degraded,
        (Ok(()), Ok(_)) => Overall::Ok,
    };
    let database = match database {
        Ok(()) => state("up", None),
        Err(_) => state("down", "The database does not answer.".to_owned()),
    };
    let docker = match docker {
        Ok(version) => state("up", version),
        Err(error) => state("down", error.to_string()),
    };
    let isolation = match it.runtime.isolation() {
        Isolation::Enforced => state("up", None),
        Isolation::Unknown => state(
            "unknown",
            "The instance network was not made yet.".to_owned(),
        ),
        Isolation::Open(why) => state("degraded", why),
    };
    let dependencies = BTreeMap::from([
        ("database", database),
        ("docker", docker),
        ("isolation", isolation),
        ("mqtt", mqtt_state(mqtt)),
    ]);
    let code = match status {
        Overall::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Overall::Ok | Overall::Degraded => StatusCode::OK,
    };
    (
        code,
        Json(Readiness {
            status,
            dependencies,
        }),
    )
}

fn mqtt_state(broker: Option<Result<(), BrokerError>>) -> DependencyState {
    match broker {
        None => state(
            "disabled",
            "No MQTT broker is set up (OPENFLOW_MQTT_BROKER); flows without MQTT do not need one."
                .to_owned(),
        ),
        Some(Ok(())) => state("up", None),
        Some(Err(error)) => state("down", error.to_string()),
    }
}
