//! What belongs to one instance: log, use of resources, environment, aliases.
use axum::{
    body::Body,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use futures_util::{StreamExt as _, TryStreamExt as _};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    identity::Role,
    instances::{
        Error, Hostname, Instances,
        views::{AliasView, StatsView},
    },
    kernel::InstanceId,
    runtime,
    stacks::EnvVar,
    web::{Auth, Json, PageView, Path, Problem, Query},
};

const TAIL_DEFAULT: u32 = 200;
const TAIL_MAX: u32 = 10_000;

pub(super) fn router() -> OpenApiRouter<Instances> {
    OpenApiRouter::new()
        .routes(routes!(logs))
        .routes(routes!(stats))
        .routes(routes!(get_env, put_env))
        .routes(routes!(list_aliases, add_alias))
        .routes(routes!(delete_alias))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct AddAlias {
    name: String,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct PutEnv {
    items: Vec<EnvVar>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct LogsQuery {
    /// How many of the last lines: 0 to 10000, 200 when absent.
    tail: Option<u32>,
    /// Go on with what comes.
    #[serde(default)]
    follow: bool,
}

/// The instance's log, as text lines
#[utoipa::path(get, path = "/api/v1/instances/{id}/logs", tag = "instances",
    params(("id" = InstanceId, Path), LogsQuery),
    responses((status = 200, content_type = "text/plain", body = String), (status = "4XX", body = Problem)))]
async fn logs(
    State(instances): State<Instances>,
    Auth(actor): Auth,
    Path(id): Path<InstanceId>,
    Query(query): Query<LogsQuery>,
) -> Result<Response, Problem> {
    let (tx, instance) = instances.open(&actor, id, Role::Viewer).await?;
    drop(tx);
    let tail = query.tail.unwrap_or(TAIL_DEFAULT).min(TAIL_MAX);
    let lines = instances.parts.runtime.logs(id, tail, query.follow).await;
    let body = match lines {
        Ok(lines) => {
            let (identity, changes) = (
                instances.parts.identity.clone(),
                instances.parts.changes.clone(),
            );
            let shut_out = identity.until_shut_out(changes, actor, instance.project);
            let lines = lines.take_until(Box::pin(shut_out));
            Body::from_stream(lines.map_err(axum::BoxError::from))
        }
        // Nothing was logged yet.
        Err(runtime::Error::NoContainer) => Body::empty(),
        Err(error) => return Err(Error::from(error).into()),
    };
    let headers = [
        (header::CONTENT_TYPE, "text/plain; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    Ok((headers, body).into_response())
}

/// What an instance uses now
#[utoipa::path(get, path = "/api/v1/instances/{id}/stats", tag = "instances", params(("id" = InstanceId, Path)),
    responses((status = 200, body = StatsView), (status = "4XX", body = Problem)))]
async fn stats(
    State(instances): State<Instances>,
    Auth(actor): Auth,
    Path(id): Path<InstanceId>,
) -> Result<Json<StatsView>, Problem> {
    instances.open(&actor, id, Role::Viewer).await?;
    let stats = instances
        .parts
        .runtime
        .stats(id)
        .await
        .map_err(Error::from)?;
    Ok(Json(StatsView {
        cpu_percent: stats.cpu_percent,
        memory_bytes: stats.memory_bytes,
        memory_limit_bytes: stats.memory_limit_bytes,
        disk_bytes: instances.folders.size(id).await,
        network_rx_bytes: stats.network_rx_bytes,
        network_tx_bytes: stats.network_tx_bytes,
        pids: stats.pids,
        at: instances.now(),
    }))
}

/// The environment; secret values are not shown
#[utoipa::path(get, path = "/api/v1/instances/{id}/env", tag = "instances", params(("id" = InstanceId, Path)),
    responses((status = 200, body = PageView<EnvVar>), (status = "4XX", body = Problem)))]
async fn get_env(
    State(instances): State<Instances>,
    Auth(actor): Auth,
    Path(id): Path<InstanceId>,
) -> Result<Json<PageView<EnvVar>>, Problem> {
    Ok(Json(PageView::whole(
        instances.env(&actor, id).await?.shown(),
    )))
}

/// Replaces the environment; it takes effect with a restart
#[utoipa::path(put, path = "/api/v1/instances/{id}/env", tag = "instances", params(("id" = InstanceId, Path)),
    request_body = PutEnv,
    responses((status = 200, body = PageView<EnvVar>), (status = "4XX", body = Problem)))]
async fn put_env(
    State(instances): State<Instances>,
    Auth(actor): Auth,
    Path(id): Path<InstanceId>,
    Json(body): Json<PutEnv>,
) -> Result<Json<PageView<EnvVar>>, Problem> {
    let env = instances.set_env(&actor, id, body.items).await?;
    Ok(Json(PageView::whole(env.shown())))
}

/// An instance's aliases
#[utoipa::path(get, path = "/api/v1/instances/{id}/aliases", tag = "instances", params(("id" = InstanceId, Path)),
    responses((status = 200, body = PageView<AliasView>), (status = "4XX", body = Problem)))]
async fn list_aliases(
    State(instances): State<Instances>,
    Auth(actor): Auth,
    Path(id): Path<InstanceId>,
) -> Result<Json<PageView<AliasView>>, Problem> {
    let it = instances.aliases(&actor, id).await?;
    let pending = instances.alias_needs_restart() && it.seen.restart_needed;
    let views = it
        .aliases
        .iter()
        .map(|name| instances.alias_view(name, pending))
        .collect();
    Ok(Json(PageView::whole(views)))
}

/// Gives an instance a further name
#[utoipa::path(post, path = "/api/v1/instances/{id}/aliases", tag = "instances", params(("id" = InstanceId, Path)),
    request_body = AddAlias,
    responses((status = 201, body = AliasView), (status = "4XX", body = Problem)))]
async fn add_alias(
    State(instances): State<Instances>,
    Auth(actor): Auth,
    Path(id): Path<InstanceId>,
    Json(body): Json<AddAlias>,
) -> Result<impl IntoResponse, Problem> {
    let (_, name) = instances.add_alias(&actor, id, &body.name).await?;
    let view = instances.alias_view(&name, instances.alias_needs_restart());
    Ok((StatusCode::CREATED, Json(view)))
}

/// Takes an alias away
#[utoipa::path(delete, path = "/api/v1/instances/{id}/aliases/{name}", tag = "instances",
    params(("id" = InstanceId, Path), ("name" = String, Path)),
    responses((status = 204), (status = "4XX", body = Problem)))]
async fn delete_alias(
    State(instances): State<Instances>,
    Auth(actor): Auth,
    Path((id, name)): Path<(InstanceId, String)>,
) -> Result<StatusCode, Problem> {
    instances.delete_alias(&actor, id, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}

impl Instances {
    fn alias_view(&self, name: &Hostname, restart_needed: bool) -> AliasView {
        AliasView {
            name: name.to_string(),
            url: self.parts.settings.url_of(name),
            restart_needed,
        }
    }
}
