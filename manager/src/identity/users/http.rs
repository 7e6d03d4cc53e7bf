use axum::{extract::State, http::StatusCode};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{Draft, User, UserChange};
use crate::{
    identity::{Identity, model::Name, require_admin},
    kernel::{Secret, UserId},
    web::{Auth, Json, PageQuery, PageView, Path, Problem, Query},
};

pub(in crate::identity) fn router() -> OpenApiRouter<Identity> {
    OpenApiRouter::new()
        .routes(routes!(me))
        .routes(routes!(change_password))
        .routes(routes!(list, create))
        .routes(routes!(update, delete))
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct MeView {
    id: UserId,
    email: String,
    name: String,
    /// Administrator of the installation: owner of every project.
    is_admin: bool,
    created_at: DateTime<Utc>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct UserView {
    id: UserId,
    email: String,
    name: String,
    is_admin: bool,
    /// Kept out, with all that they own.
    disabled: bool,
    created_at: DateTime<Utc>,
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PasswordBody {
    current_password: Secret,
    /// At least 10 characters, at most 256 bytes, not the email address.
    new_password: Secret,
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct CreateUserBody {
    email: String,
    name: String,
    /// At least 10 characters, at most 256 bytes, not the email address.
    password: Secret,
    #[serde(default)]
    is_admin: bool,
}

/// What is absent stays as it is.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct UpdateUserBody {
    name: Option<String>,
    is_admin: Option<bool>,
    disabled: Option<bool>,
    password: Option<Secret>,
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct UsersQuery {
    /// Only the user with this email address.
    email: Option<String>,
    /// 1 to 200, 50 when absent.
    limit: Option<i64>,
    /// `nextCursor` of the page before.
    cursor: Option<String>,
}

/// Who you are
#[utoipa::path(get, path = "/api/v1/auth/me", tag = "account",
    responses((status = 200, body = MeView), (status = "4XX", body = Problem)))]
async fn me(State(identity): State<Identity>, Auth(actor): Auth) -> Result<Json<MeView>, Problem> {
    let it = identity.me(&actor).await?;
    Ok(Json(MeView {
        id: it.id,
        email: it.email,
        name: it.name,
        is_admin: it.is_admin,
        created_at: it.created_at,
    }))
}

/// Set your password
///
/// Ends your other sessions, your editor sessions and your personal access
/// tokens.
#[utoipa::path(post, path = "/api/v1/me/password", tag = "account", request_body = PasswordBody,
    responses((status = 204, description = "Changed"), (status = "4XX", body = Problem)))]
async fn change_password(
    State(identity): State<Identity>,
    Auth(actor): Auth,
    Json(body): Json<PasswordBody>,
) -> Result<StatusCode, Problem> {
    identity
        .change_password(&actor, &body.current_password, &body.new_password)
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// All users, for administrators
#[utoipa::path(get, path = "/api/v1/users", tag = "users", params(UsersQuery),
    responses((status = 200, body = PageView<UserView>), (status = "4XX", body = Problem)))]
async fn list(
    State(identity): State<Identity>,
    Auth(actor): Auth,
    Query(query): Query<UsersQuery>,
) -> Result<Json<PageView<UserView>>, Problem> {
    let page = PageQuery {
        limit: query.limit,
        cursor: query.cursor,
    }
    .request()?;
    let users = identity
        .list_users(&actor, query.email.as_deref(), page)
        .await?;
    Ok(Json(users.into()))
}

/// Create a user, who gets a first project
#[utoipa::path(post, path = "/api/v1/users", tag = "users", request_body = CreateUserBody,
    responses((status = 201, body = UserView), (status = "4XX", body = Problem)))]
async fn create(
    State(identity): State<Identity>,
    Auth(actor): Auth,
    Json(body): Json<CreateUserBody>,
) -> Result<(StatusCode, Json<UserView>), Problem> {
    require_admin(&actor)?;
    let draft = Draft::parse(&body.email, &body.name, body.password, body.is_admin)?;
    let user = identity.create_user(&actor, draft).await?;
    Ok((StatusCode::CREATED, Json(user.into())))
}

/// Change a user
///
/// A new password, or `disabled`, ends the user's sessions, editor sessions
/// and personal access tokens at once.
#[utoipa::path(patch, path = "/api/v1/users/{id}", tag = "users", request_body = UpdateUserBody,
    params(("id" = Uuid, Path, description = "The user")),
    responses((status = 200, body = UserView), (status = "4XX", body = Problem)))]
async fn update(
    State(identity): State<Identity>,
    Auth(actor): Auth,
    Path(id): Path<UserId>,
    Json(body): Json<UpdateUserBody>,
) -> Result<Json<UserView>, Problem> {
    require_admin(&actor)?;
    let change = UserChange {
        name: body.name.as_deref().map(Name::parse).transpose()?,
        is_admin: body.is_admin,
        disabled: body.disabled,
        password: body.password,
    };
    Ok(Json(
        identity.update_user(&actor, id, &change).await?.into(),
    ))
}

/// Delete a user
///
/// Also the projects in which they are alone and that have no instances.
/// Refused while another project would lose its only owner.
#[utoipa::path(delete, path = "/api/v1/users/{id}", tag = "users",
    params(("id" = Uuid, Path, description = "The user")),
    responses((status = 204, description = "Deleted"), (status = "4XX", body = Problem)))]
async fn delete(
    State(identity): State<Identity>,
    Auth(actor): Auth,
    Path(id): Path<UserId>,
) -> Result<StatusCode, Problem> {
    identity.delete_user(&actor, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

impl From<User> for UserView {
    fn from(it: User) -> Self {
        Self {
            id: it.id,
            email: it.email,
            name: it.name,
            is_admin: it.is_admin,
            disabled: it.is_disabled,
            created_at: it.created_at,
        }
    }
}
