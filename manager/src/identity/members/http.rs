use axum::{extract::State, http::StatusCode};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::Member;
use crate::{
    identity::{Identity, Role},
    kernel::{ProjectId, UserId},
    web::{Auth, Json, PageQuery, PageView, Path, Problem, Query},
};

pub(in crate::identity) fn router() -> OpenApiRouter<Identity> {
    OpenApiRouter::new()
        .routes(routes!(list, add))
        .routes(routes!(set, remove))
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct MemberView {
    user_id: UserId,
    email: String,
    name: String,
    role: Role,
    /// Since when they are a member.
    created_at: DateTime<Utc>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct AddMemberBody {
    /// Of a user that exists.
    email: String,
    role: Role,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct SetMemberBody {
    role: Role,
}

/// The members of a project
#[utoipa::path(get, path = "/api/v1/projects/{id}/members", tag = "projects",
    params(("id" = Uuid, Path, description = "The project"), PageQuery),
    responses((status = 200, body = PageView<MemberView>), (status = "4XX", body = Problem)))]
async fn list(
    State(identity): State<Identity>,
    Auth(actor): Auth,
    Path(project): Path<ProjectId>,
    Query(query): Query<PageQuery>,
) -> Result<Json<PageView<MemberView>>, Problem> {
    let page = query.request()?;
    let members = identity.list_members(&actor, project, page).await?;
    Ok(Json(members.into()))
}

/// Add a member by email address
#[utoipa::path(post, path = "/api/v1/projects/{id}/members", tag = "projects", request_body = AddMemberBody,
    params(("id" = Uuid, Path, description = "The project")),
    responses((status = 201, body = MemberView), (status = "4XX", body = Problem)))]
async fn add(
    State(identity): State<Identity>,
    Auth(actor): Auth,
    Path(project): Path<ProjectId>,
    Json(body): Json<AddMemberBody>,
) -> Result<(StatusCode, Json<MemberView>), Problem> {
    let member = identity
        .add_member(&actor, project, &body.email, body.role)
        .await?;
    Ok((StatusCode::CREATED, Json(member.into())))
}

/// Make a user a member, or change a member's role
#[utoipa::path(put, path = "/api/v1/projects/{id}/members/{userId}", tag = "projects", request_body = SetMemberBody,
    params(("id" = Uuid, Path, description = "The project"), ("userId" = Uuid, Path, description = "The user")),
    responses((status = 200, body = MemberView), (status = "4XX", body = Problem)))]
async fn set(
    State(identity): State<Identity>,
    Auth(actor): Auth,
    Path((project, user)): Path<(ProjectId, UserId)>,
    Json(body): Json<SetMemberBody>,
) -> Result<Json<MemberView>, Problem> {
    let member = identity
        .set_member(&actor, project, user, body.role)
        .await?;
    Ok(Json(member.into()))
}

/// Remove a member; members may remove themselves
#[utoipa::path(delete, path = "/api/v1/projects/{id}/members/{userId}", tag = "projects",
    params(("id" = Uuid, Path, description = "The project"), ("userId" = Uuid, Path, description = "The user")),
    responses((status = 204, description = "Removed"), (status = "4XX", body = Problem)))]
async fn remove(
    State(identity): State<Identity>,
    Auth(actor): Auth,
    Path((project, user)): Path<(ProjectId, UserId)>,
) -> Result<StatusCode, Problem> {
    identity.remove_member(&actor, project, user).await?;
    Ok(StatusCode::NO_CONTENT)
}

impl From<Member> for MemberView {
    fn from(it: Member) -> Self {
        Self {
            user_id: it.user,
            email: it.email,
            name: it.name,
            role: it.role,
            created_at: it.created_at,
        }
    }
}
