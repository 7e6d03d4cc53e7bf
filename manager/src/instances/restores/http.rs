use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use super::{Restore, RestoreState, SourceKind};
use crate::{
    instances::Instances,
    kernel::{InstanceId, RestoreId},
    web::{Auth, Json, PageQuery, PageView, Path, Problem, Query},
};

pub(in crate::instances) fn router() -> OpenApiRouter<Instances> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(get))
}

/// A replacement of an instance's data.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Restore)]
pub struct RestoreView {
    id: RestoreId,
    instance_id: InstanceId,
    kind: SourceKind,
    /// The snapshot or backup.
    source_id: Uuid,
    source_name: String,
    state: RestoreState,
    /// Why it was undone or has failed.
    detail: Option<String>,
    /// Of putting the files beside; `null` when there is nothing to tell.
    progress: Option<RestoreProgress>,
    requested_by: String,
    created_at: DateTime<Utc>,
    finished_at: Option<DateTime<Utc>>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RestoreProgress {
    done_bytes: i64,
    total_bytes: i64,
}

impl From<Restore> for RestoreView {
    fn from(it: Restore) -> Self {
        let progress = |(done_bytes, total_bytes)| RestoreProgress {
            done_bytes,
            total_bytes,
        };
        Self {
            id: it.id,
            instance_id: it.instance,
            kind: it.source_kind,
            source_id: it.source_id,
            source_name: it.source_name,
            state: it.state,
            detail: it.detail,
            progress: it.progress.map(progress),
            requested_by: it.requested_by,
            created_at: it.created_at,
            finished_at: it.finished_at,
        }
    }
}

/// An instance's restores, newest first
#[utoipa::path(get, path = "/api/v1/instances/{id}/restores", tag = "restores",
    params(("id" = InstanceId, Path), PageQuery),
    responses((status = 200, body = PageView<RestoreView>), (status = "4XX", body = Problem)))]
async fn list(
    State(instances): State<Instances>,
    Auth(actor): Auth,
    Path(id): Path<InstanceId>,
    Query(query): Query<PageQuery>,
) -> Result<Json<PageView<RestoreView>>, Problem> {
    let page = instances.restores(&actor, id, query.request()?).await?;
    Ok(Json(page.into()))
}

/// How a restore goes
#[utoipa::path(get, path = "/api/v1/restores/{id}", tag = "restores", params(("id" = RestoreId, Path)),
    responses((status = 200, body = RestoreView), (status = "4XX", body = Problem)))]
async fn get(
    State(instances): State<Instances>,
    Auth(actor): Auth,
    Path(id): Path<RestoreId>,
) -> Result<Json<RestoreView>, Problem> {
    Ok(Json(instances.restore(&actor, id).await?.into()))
}
