use axum::{
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
};
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{Backups, Error, NewTarget, Target, policies, transfer, views::BackupView};
use crate::{
    instances::restores::RestoreView,
    kernel::{BackupId, InstanceId, ProjectId},
    web::{Auth, Json, PageQuery, PageView, Path, Problem, Query},
};

pub fn router(backups: Backups) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(list_of_project))
        .routes(routes!(get, delete))
        .routes(routes!(verify))
        .routes(routes!(fetch))
        .routes(routes!(restore))
        .merge(policies::http::router())
        .merge(transfer::http::router())
        .with_state(backups)
}

/// Routes on which the answer may begin after more than a minute.
pub fn slow_router(backups: Backups) -> OpenApiRouter {
    transfer::http::slow_router().with_state(backups)
}

/// Nothing: into the instance that the backup was made of.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct RestoreBackup {
    /// Into this instance, which loses what it has.
    instance_id: Option<InstanceId>,
    /// Into an instance that is made for it.
    new_instance: Option<RestoreIntoNew>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct RestoreIntoNew {
    /// For people, 1 to 100 characters.
    name: String,
    /// 1 to 63 of `[a-z0-9-]`, unique over the installation.
    subdomain: String,
    /// The backup's project when absent; of another one you have to be a member, too.
    project_id: Option<ProjectId>,
}

/// An instance's backups, newest first
#[utoipa::path(get, path = "/api/v1/instances/{id}/backups", tag = "backups",
    params(("id" = InstanceId, Path), PageQuery),
    responses((status = 200, body = PageView<BackupView>), (status = "4XX", body = Problem)))]
async fn list(
    State(backups): State<Backups>,
    Auth(actor): Auth,
    Path(id): Path<InstanceId>,
    Query(query): Query<PageQuery>,
) -> Result<Json<PageView<BackupView>>, Problem> {
    let page = backups.of_instance(&actor, id, query.request()?).await?;
    Ok(Json(page.into()))
}

/// Backs an instance up now
#[utoipa::path(post, path = "/api/v1/instances/{id}/backups", tag = "backups", params(("id" = InstanceId, Path)),
    responses((status = 202, body = BackupView), (status = "4XX", body = Problem)))]
async fn create(
    State(backups): State<Backups>,
    Auth(actor): Auth,
    Path(id): Path<InstanceId>,
) -> Result<impl IntoResponse, Problem> {
    let backup = backups.request(&actor, id).await?;
    let at = format!("/api/v1/backups/{}", backup.id);
    let view = Json(BackupView::from(backups.look(backup).await?));
    Ok((StatusCode::ACCEPTED, [(header::LOCATION, at)], view))
}

/// A project's backups, newest first, those of deleted instances too
#[utoipa::path(get, path = "/api/v1/projects/{id}/backups", tag = "backups",
    params(("id" = ProjectId, Path), PageQuery),
    responses((status = 200, body = PageView<BackupView>), (status = "4XX", body = Problem)))]
async fn list_of_project(
    State(backups): State<Backups>,
    Auth(actor): Auth,
    Path(id): Path<ProjectId>,
    Query(query): Query<PageQuery>,
) -> Result<Json<PageView<BackupView>>, Problem> {
    let page = backups.of_project(&actor, id, query.request()?).await?;
    Ok(Json(page.into()))
}

/// One backup
#[utoipa::path(get, path = "/api/v1/backups/{id}", tag = "backups", params(("id" = BackupId, Path)),
    responses((status = 200, body = BackupView), (status = "4XX", body = Problem)))]
async fn get(
    State(backups): State<Backups>,
    Auth(actor): Auth,
    Path(id): Path<BackupId>,
) -> Result<Json<BackupView>, Problem> {
    Ok(Json(backups.get(&actor, id).await?.into()))
}

/// Removes a backup and its file
///
/// One that waits or runs is cancelled.
#[utoipa::path(delete, path = "/api/v1/backups/{id}", tag = "backups", params(("id" = BackupId, Path)),
    responses((status = 204), (status = "4XX", body = Problem)))]
async fn delete(
    State(backups): State<Backups>,
    Auth(actor): Auth,
    Path(id): Path<BackupId>,
) -> Result<StatusCode, Problem> {
    backups.delete(&actor, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Tries whether a backup can be restored
#[utoipa::path(post, path = "/api/v1/backups/{id}/verify", tag = "backups", params(("id" = BackupId, Path)),
    responses((status = 202, body = BackupView), (status = "4XX", body = Problem)))]
async fn verify(
    State(backups): State<Backups>,
    Auth(actor): Auth,
    Path(id): Path<BackupId>,
) -> Result<impl IntoResponse, Problem> {
    let backup = backups.verify(&actor, id).await?;
    let view = BackupView::from(backups.look(backup).await?);
    Ok((StatusCode::ACCEPTED, Json(view)))
}

/// Fetches a backup's file back from the bucket
///
/// For a file that is gone here, or that a verification found damaged: afterwards the backup is good, and can be
/// restored and downloaded again. What is fetched takes the file's place only when it is the very one that was made.
#[utoipa::path(post, path = "/api/v1/backups/{id}/fetch", tag = "backups", params(("id" = BackupId, Path)),
    responses((status = 202, body = BackupView), (status = "4XX", body = Problem)))]
async fn fetch(
    State(backups): State<Backups>,
    Auth(actor): Auth,
    Path(id): Path<BackupId>,
) -> Result<impl IntoResponse, Problem> {
    let backup = backups.fetch(&actor, id).await?;
    let view = BackupView::from(backups.look(backup).await?);
    Ok((StatusCode::ACCEPTED, Json(view)))
}

/// Puts a backup back
///
/// The instance runs on while the files are put beside; then it is stopped, its data folder is exchanged, and it is
/// started. When it does not become healthy, what was there before is put back. A new instance is not started before its
/// data are in place, and is deleted when they do not come.
#[utoipa::path(post, path = "/api/v1/backups/{id}/restore", tag = "backups", params(("id" = BackupId, Path)),
    request_body = Option<RestoreBackup>,
    responses((status = 202, body = RestoreView), (status = "4XX", body = Problem)))]
async fn restore(
    State(backups): State<Backups>,
    Auth(actor): Auth,
    Path(id): Path<BackupId>,
    body: Option<Json<RestoreBackup>>,
) -> Result<impl IntoResponse, Problem> {
    let body = body.map(|Json(it)| it).unwrap_or_default();
    let target = match (body.instance_id, body.new_instance) {
        (Some(_), Some(_)) => return Err(Error::TwoTargets.into()),
        (Some(id), None) => Target::Other(id),
        (None, None) => Target::Own,
        (None, Some(new)) => Target::New(NewTarget {
            name: new.name,
            subdomain: new.subdomain,
            project: new.project_id,
        }),
    };
    let restore = backups.restore(&actor, id, target).await?;
    let at = format!("/api/v1/restores/{}", restore.id);
    let view = Json(RestoreView::from(restore));
    Ok((StatusCode::ACCEPTED, [(header::LOCATION, at)], view))
}
