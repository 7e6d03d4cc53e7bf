mod transfer;
mod views;

use axum::{extract::State, http::StatusCode, response::IntoResponse};
use chrono::{DateTime, Utc};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    Error, SnapshotKind, Snapshots,
    diff::SnapshotDiff,
    model::Label,
    pipelines,
    plan::{ActiveChoice, Choice, CredentialChoice, RestorePlan},
};
use crate::{
    instances::restores::RestoreView,
    kernel::{InstanceId, SnapshotId},
    web::{Auth, Json, PageQuery, PageView, Path, Problem, Query},
};
pub(super) use views::SnapshotView;
use views::SnapshotWithFlows;

pub fn router(snapshots: Snapshots) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(list, take))
        .routes(routes!(get, patch, delete))
        .routes(routes!(diff))
        .routes(routes!(restore))
        .merge(transfer::router())
        .merge(pipelines::http::router())
        .with_state(snapshots)
}

/// The name of a snapshot whose taker gives it none.
pub(super) fn default_name(now: DateTime<Utc>) -> String {
    now.format("Snapshot of %Y-%m-%d %H:%M").to_string()
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ListQuery {
    /// Only of that kind.
    kind: Option<SnapshotKind>,
    /// How many items at the most: 1 to 200, 50 when absent.
    limit: Option<i64>,
    /// `nextCursor` of the page before.
    cursor: Option<String>,
}

#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct TakeSnapshot {
    /// At most 100 characters; the time when absent.
    name: Option<String>,
    /// At most 2000 characters.
    description: Option<String>,
}

/// What is absent stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct PatchSnapshot {
    name: Option<String>,
    description: Option<String>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct DiffQuery {
    /// Another snapshot's id, or `current` (as when absent): what runs now.
    to: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DryRun {
    #[serde(default)]
    pub(super) dry_run: bool,
}

#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct RestoreSnapshot {
    /// The snapshot's own instance when absent.
    instance_id: Option<InstanceId>,
    #[serde(default)]
    credentials: CredentialChoice,
    /// Set the variables that the instance lacks and that are not secret.
    #[serde(default)]
    add_env: bool,
    /// What runs by itself afterwards; only n8n's workflows are switched on and off.
    #[serde(default)]
    active: ActiveChoice,
}

/// An instance's snapshots, newest first
#[utoipa::path(get, path = "/api/v1/instances/{id}/snapshots", operation_id = "listSnapshots", tag = "snapshots",
    params(("id" = InstanceId, Path), ListQuery),
    responses((status = 200, body = PageView<SnapshotView>), (status = "4XX", body = Problem)))]
async fn list(
    State(snapshots): State<Snapshots>,
    Auth(actor): Auth,
    Path(id): Path<InstanceId>,
    Query(query): Query<ListQuery>,
) -> Result<Json<PageView<SnapshotView>>, Problem> {
    let page = PageQuery {
        limit: query.limit,
        cursor: query.cursor,
    };
    let found = snapshots
        .list(&actor, id, query.kind, page.request()?)
        .await?;
    Ok(Json(found.into()))
}

/// Takes a snapshot; the instance runs on
#[utoipa::path(post, path = "/api/v1/instances/{id}/snapshots", operation_id = "takeSnapshot", tag = "snapshots",
    params(("id" = InstanceId, Path)), request_body = Option<TakeSnapshot>,
    responses((status = 201, body = SnapshotView), (status = "4XX", body = Problem)))]
async fn take(
    State(snapshots): State<Snapshots>,
    Auth(actor): Auth,
    Path(id): Path<InstanceId>,
    body: Option<Json<TakeSnapshot>>,
) -> Result<impl IntoResponse, Problem> {
    let body = body.map(|Json(it)| it).unwrap_or_default();
    let label = Label::parse(
        body.name.as_deref(),
        body.description.as_deref(),
        &default_name(snapshots.now()),
    )?;
    let taken = snapshots
        .take(&actor, id, label, serde_json::json!({}))
        .await?;
    Ok((StatusCode::CREATED, Json(SnapshotView::from(taken))))
}

/// One snapshot, with its flows
#[utoipa::path(get, path = "/api/v1/snapshots/{id}", operation_id = "getSnapshot", tag = "snapshots",
    params(("id" = SnapshotId, Path)),
    responses((status = 200, body = SnapshotWithFlows), (status = "4XX", body = Problem)))]
async fn get(
    State(snapshots): State<Snapshots>,
    Auth(actor): Auth,
    Path(id): Path<SnapshotId>,
) -> Result<Json<SnapshotWithFlows>, Problem> {
    let (it, content) = snapshots.get(&actor, id).await?;
    Ok(Json(SnapshotWithFlows::new(it, content.flows.nodes)))
}

/// Renames a snapshot
#[utoipa::path(patch, path = "/api/v1/snapshots/{id}", operation_id = "patchSnapshot", tag = "snapshots",
    params(("id" = SnapshotId, Path)), request_body = PatchSnapshot,
    responses((status = 200, body = SnapshotView), (status = "4XX", body = Problem)))]
async fn patch(
    State(snapshots): State<Snapshots>,
    Auth(actor): Auth,
    Path(id): Path<SnapshotId>,
    Json(body): Json<PatchSnapshot>,
) -> Result<Json<SnapshotView>, Problem> {
    let (name, description) = (body.name.as_deref(), body.description.as_deref());
    let it = snapshots.patch(&actor, id, name, description).await?;
    Ok(Json(it.into()))
}

/// Removes a snapshot
#[utoipa::path(delete, path = "/api/v1/snapshots/{id}", operation_id = "deleteSnapshot", tag = "snapshots",
    params(("id" = SnapshotId, Path)),
    responses((status = 204), (status = "4XX", body = Problem)))]
async fn delete(
    State(snapshots): State<Snapshots>,
    Auth(actor): Auth,
    Path(id): Path<SnapshotId>,
) -> Result<StatusCode, Problem> {
    snapshots.delete(&actor, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What changed from a snapshot to another one, or to what runs now
#[utoipa::path(get, path = "/api/v1/snapshots/{id}/diff", operation_id = "diffSnapshot", tag = "snapshots",
    params(("id" = SnapshotId, Path), DiffQuery),
    responses((status = 200, body = SnapshotDiff), (status = "4XX", body = Problem)))]
async fn diff(
    State(snapshots): State<Snapshots>,
    Auth(actor): Auth,
    Path(id): Path<SnapshotId>,
    Query(query): Query<DiffQuery>,
) -> Result<Json<SnapshotDiff>, Problem> {
    let to = match query.to.as_deref() {
        None | Some("current") => None,
        Some(text) => Some(text.parse().map_err(|_| Error::NotFound)?),
    };
    Ok(Json(snapshots.diff(&actor, id, to).await?))
}

/// Puts a snapshot into its instance or another one
///
/// The instance is stopped, its flows and credentials are replaced, missing modules are installed; when it does not
/// become healthy, what was there is put back. Into another instance that is a stage with `needsOwner` of a pipeline, only an
/// owner restores. With `dryRun=true` the answer is a `RestorePlan`, and nothing is done.
#[utoipa::path(post, path = "/api/v1/snapshots/{id}/restore", operation_id = "restoreSnapshot", tag = "snapshots",
    params(("id" = SnapshotId, Path), ("dryRun" = Option<bool>, Query, description = "Only tell what would be done.")),
    request_body = Option<RestoreSnapshot>,
    responses((status = 200, body = RestorePlan), (status = 202, body = RestoreView), (status = "4XX", body = Problem)))]
async fn restore(
    State(snapshots): State<Snapshots>,
    Auth(actor): Auth,
    Path(id): Path<SnapshotId>,
    Query(query): Query<DryRun>,
    body: Option<Json<RestoreSnapshot>>,
) -> Result<axum::response::Response, Problem> {
    let body = body.map(|Json(it)| it).unwrap_or_default();
    let choice = Choice {
        target: body.instance_id,
        credentials: body.credentials,
        add_env: body.add_env,
        active: body.active,
    };
    if query.dry_run {
        return Ok(Json(snapshots.plan(&actor, id, choice).await?).into_response());
    }
    let restore = snapshots.restore(&actor, id, choice).await?;
    Ok((StatusCode::ACCEPTED, Json(RestoreView::from(restore))).into_response())
}
