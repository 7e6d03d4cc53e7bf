use axum::{
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{NewPipeline, NewStage, Pipeline, Stage};
use crate::{
    instances::restores::RestoreView,
    kernel::{InstanceId, PipelineId, ProjectId},
    snapshots::{
        Error, Snapshots,
        http::{DryRun, SnapshotView},
        plan::{ActiveChoice, Choice, CredentialChoice, RestorePlan},
    },
    web::{Auth, Json, PageView, Path, Problem, Query},
};

pub(in crate::snapshots) fn router() -> OpenApiRouter<Snapshots> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(get, put, delete))
        .routes(routes!(promote))
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Pipeline)]
struct PipelineView {
    id: PipelineId,
    project_id: ProjectId,
    name: String,
    /// In the order of promotion. A deleted instance is gone from it.
    stages: Vec<StageView>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = PipelineStage)]
struct StageView {
    instance_id: InstanceId,
    instance_name: String,
    subdomain: String,
    /// Only an owner promotes to it, or restores into it what comes from another instance.
    needs_owner: bool,
}

impl From<Stage> for StageView {
    fn from(it: Stage) -> Self {
        Self {
            instance_id: it.instance,
            instance_name: it.instance_name,
            subdomain: it.subdomain,
            needs_owner: it.needs_owner,
        }
    }
}

impl From<Pipeline> for PipelineView {
    fn from(it: Pipeline) -> Self {
        Self {
            id: it.id,
            project_id: it.project,
            name: it.name,
            stages: it.stages.into_iter().map(StageView::from).collect(),
            created_at: it.created_at,
            updated_at: it.updated_at,
        }
    }
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct PutPipeline {
    /// 1 to 100 characters, once in the project.
    name: String,
    /// 2 to 20, in the order of promotion.
    stages: Vec<PutStage>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct PutStage {
    /// One of the project's instances.
    instance_id: InstanceId,
    /// Only an owner promotes to it, or restores into it what comes from another instance.
    #[serde(default)]
    needs_owner: bool,
}

impl PutPipeline {
    fn parse(self) -> Result<NewPipeline, Error> {
        let stage = |it: PutStage| NewStage {
            instance: it.instance_id,
            needs_owner: it.needs_owner,
        };
        NewPipeline::parse(&self.name, self.stages.into_iter().map(stage).collect())
    }
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct PromotePipeline {
    /// The stage that is promoted from.
    instance_id: InstanceId,
    #[serde(default)]
    credentials: CredentialChoice,
    /// Set the variables that the next stage lacks and that are not secret.
    #[serde(default)]
    add_env: bool,
    /// What runs by itself afterwards; only n8n's workflows are switched on and off.
    #[serde(default)]
    active: ActiveChoice,
}

#[derive(Debug, Serialize, ToSchema)]
struct Promotion {
    snapshot: SnapshotView,
    restore: RestoreView,
}

/// A project's pipelines, by name
#[utoipa::path(get, path = "/api/v1/projects/{id}/pipelines", operation_id = "listPipelines", tag = "pipelines",
    params(("id" = ProjectId, Path)),
    responses((status = 200, body = PageView<PipelineView>), (status = "4XX", body = Problem)))]
async fn list(
    State(snapshots): State<Snapshots>,
    Auth(actor): Auth,
    Path(project): Path<ProjectId>,
) -> Result<Json<PageView<PipelineView>>, Problem> {
    let all = snapshots.pipelines(&actor, project).await?;
    let views = all.into_iter().map(PipelineView::from).collect();
    Ok(Json(PageView::whole(views)))
}

/// Makes a pipeline
#[utoipa::path(post, path = "/api/v1/projects/{id}/pipelines", operation_id = "createPipeline", tag = "pipelines",
    params(("id" = ProjectId, Path)), request_body = PutPipeline,
    responses((status = 201, body = PipelineView), (status = "4XX", body = Problem)))]
async fn create(
    State(snapshots): State<Snapshots>,
    Auth(actor): Auth,
    Path(project): Path<ProjectId>,
    Json(body): Json<PutPipeline>,
) -> Result<impl IntoResponse, Problem> {
    let made = snapshots
        .create_pipeline(&actor, project, body.parse()?)
        .await?;
    Ok((StatusCode::CREATED, Json(PipelineView::from(made))))
}

/// One pipeline
#[utoipa::path(get, path = "/api/v1/pipelines/{id}", operation_id = "getPipeline", tag = "pipelines",
    params(("id" = PipelineId, Path)),
    responses((status = 200, body = PipelineView), (status = "4XX", body = Problem)))]
async fn get(
    State(snapshots): State<Snapshots>,
    Auth(actor): Auth,
    Path(id): Path<PipelineId>,
) -> Result<Json<PipelineView>, Problem> {
    Ok(Json(snapshots.pipeline(&actor, id).await?.into()))
}

/// Replaces a pipeline's name and stages
#[utoipa::path(put, path = "/api/v1/pipelines/{id}", operation_id = "putPipeline", tag = "pipelines",
    params(("id" = PipelineId, Path)), request_body = PutPipeline,
    responses((status = 200, body = PipelineView), (status = "4XX", body = Problem)))]
async fn put(
    State(snapshots): State<Snapshots>,
    Auth(actor): Auth,
    Path(id): Path<PipelineId>,
    Json(body): Json<PutPipeline>,
) -> Result<Json<PipelineView>, Problem> {
    let it = snapshots.put_pipeline(&actor, id, body.parse()?).await?;
    Ok(Json(it.into()))
}

/// Removes a pipeline; its instances stay
#[utoipa::path(delete, path = "/api/v1/pipelines/{id}", operation_id = "deletePipeline", tag = "pipelines",
    params(("id" = PipelineId, Path)),
    responses((status = 204), (status = "4XX", body = Problem)))]
async fn delete(
    State(snapshots): State<Snapshots>,
    Auth(actor): Auth,
    Path(id): Path<PipelineId>,
) -> Result<StatusCode, Problem> {
    snapshots.delete_pipeline(&actor, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Puts a stage's flows into the next stage
///
/// A snapshot of the stage is taken and restored into the next one. With `dryRun=true` the answer is a `RestorePlan`, and
/// nothing is done.
#[utoipa::path(post, path = "/api/v1/pipelines/{id}/promote", operation_id = "promotePipeline", tag = "pipelines",
    params(("id" = PipelineId, Path), ("dryRun" = Option<bool>, Query, description = "Only tell what would be done.")),
    request_body = PromotePipeline,
    responses((status = 200, body = RestorePlan), (status = 202, body = Promotion), (status = "4XX", body = Problem)))]
async fn promote(
    State(snapshots): State<Snapshots>,
    Auth(actor): Auth,
    Path(id): Path<PipelineId>,
    Query(query): Query<DryRun>,
    Json(body): Json<PromotePipeline>,
) -> Result<Response, Problem> {
    let from = body.instance_id;
    let choice = Choice {
        target: None,
        credentials: body.credentials,
        add_env: body.add_env,
        active: body.active,
    };
    if query.dry_run {
        let plan = snapshots.plan_promotion(&actor, id, from, choice).await?;
        return Ok(Json(plan).into_response());
    }
    let (snapshot, restore) = snapshots.promote(&actor, id, from, choice).await?;
    let promotion = Promotion {
        snapshot: snapshot.into(),
        restore: restore.into(),
    };
    Ok((StatusCode::ACCEPTED, Json(promotion)).into_response())
}
