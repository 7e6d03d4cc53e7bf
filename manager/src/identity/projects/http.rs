use axum::{extract::State, http::StatusCode};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::Project;
use crate::{
    identity::{Identity, Role, model::Name},
    kernel::ProjectId,
    web::{Auth, Json, PageQuery, PageView, Path, Problem, Query},
};

pub(in crate::identity) fn router() -> OpenApiRouter<Identity> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(get, update, delete))
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ProjectView {
    id: ProjectId,
    name: String,
    /// Yours.
    role: Role,
    instance_count: i64,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    /// Since when it is being deleted; `null` unless it is.
    deleting_at: Option<DateTime<Utc>>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ProjectBody {
    /// 1 to 100 characters.
    name: String,
}

/// Your projects; all of them for an administrator
#[utoipa::path(get, path = "/api/v1/projects", tag = "projects", params(PageQuery),
    responses((status = 200, body = PageView<ProjectView>), (status = "4XX", body = Problem)))]
async fn list(
    State(identity): State<Identity>,
    Auth(actor): Auth,
    Query(query): Query<PageQuery>,
) -> Result<Json<PageView<ProjectView>>, Problem> {
    let page = query.request()?;
    Ok(Json(identity.list_projects(&actor, page).await?.into()))
}

/// Create a project, which you own
#[utoipa::path(post, path = "/api/v1/projects", tag = "projects", request_body = ProjectBody,
    responses((status = 201, body = ProjectView), (status = "4XX", body = Problem)))]
async fn create(
    State(identity): State<Identity>,
    Auth(actor): Auth,
    Json(body): Json<ProjectBody>,
) -> Result<(StatusCode, Json<ProjectView>), Problem> {
    let name = Name::parse(&body.name)?;
    let project = identity.create_project(&actor, &name).await?;
    Ok((StatusCode::CREATED, Json(project.into())))
}

/// A project
#[utoipa::path(get, path = "/api/v1/projects/{id}", tag = "projects",
    params(("id" = Uuid, Path, description = "The project")),
    responses((status = 200, body = ProjectView), (status = "4XX", body = Problem)))]
async fn get(
    State(identity): State<Identity>,
    Auth(actor): Auth,
    Path(id): Path<ProjectId>,
) -> Result<Json<ProjectView>, Problem> {
    Ok(Json(identity.project(&actor, id).await?.into()))
}

/// Rename a project
#[utoipa::path(patch, path = "/api/v1/projects/{id}", tag = "projects", request_body = ProjectBody,
    params(("id" = Uuid, Path, description = "The project")),
    responses((status = 200, body = ProjectView), (status = "4XX", body = Problem)))]
async fn update(
    State(identity): State<Identity>,
    Auth(actor): Auth,
    Path(id): Path<ProjectId>,
    Json(body): Json<ProjectBody>,
) -> Result<Json<ProjectView>, Problem> {
    let name = Name::parse(&body.name)?;
    Ok(Json(
        identity.rename_project(&actor, id, &name).await?.into(),
    ))
}

/// Delete a project and its instances
///
/// Answers at once; the project goes when its instances and their data are
/// gone.
#[utoipa::path(delete, path = "/api/v1/projects/{id}", tag = "projects",
    params(("id" = Uuid, Path, description = "The project")),
    responses((status = 202, body = ProjectView), (status = "4XX", body = Problem)))]
async fn delete(
    State(identity): State<Identity>,
    Auth(actor): Auth,
    Path(id): Path<ProjectId>,
) -> Result<(StatusCode, Json<ProjectView>), Problem> {
    let project = identity.delete_project(&actor, id).await?;
    Ok((StatusCode::ACCEPTED, Json(project.into())))
}

impl From<Project> for ProjectView {
    fn from(it: Project) -> Self {
        Self {
            id: it.id,
            name: it.name,
            role: it.role,
            instance_count: it.instance_count,
            created_at: it.created_at,
            updated_at: it.updated_at,
            deleting_at: it.deleting_at,
        }
    }
}
