use axum::{extract::State, http::StatusCode, response::IntoResponse};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    identity::{Identity, cookie, sessions::Origin, users::Draft},
    kernel::Secret,
    web::{Json, Problem},
};

pub(in crate::identity) fn router() -> OpenApiRouter<Identity> {
    OpenApiRouter::new().routes(routes!(needed, set_up))
}

#[derive(Serialize, ToSchema)]
struct SetupView {
    /// Whether the first administrator is still to be made.
    needed: bool,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct SetupBody {
    /// The one-time token of the setup link that the manager prints.
    token: Secret,
    email: String,
    name: String,
    /// At least 10 characters, at most 256 bytes, not the email address.
    password: Secret,
}

/// Whether the first administrator is still to be made
#[utoipa::path(get, path = "/api/v1/setup", tag = "setup", security(()),
    responses((status = 200, body = SetupView), (status = "5XX", body = Problem)))]
async fn needed(State(identity): State<Identity>) -> Result<Json<SetupView>, Problem> {
    let needed = identity.setup_needed().await?;
    Ok(Json(SetupView { needed }))
}

/// Make the first administrator, once, and sign in
#[utoipa::path(post, path = "/api/v1/setup", tag = "setup", request_body = SetupBody, security(()),
    responses((status = 204, description = "Made and signed in; the cookie is set"), (status = "4XX", body = Problem)))]
async fn set_up(
    State(identity): State<Identity>,
    origin: Origin,
    Json(body): Json<SetupBody>,
) -> Result<impl IntoResponse, Problem> {
    let draft = Draft::parse(&body.email, &body.name, body.password, true)?;
    let session = identity.set_up(&body.token, draft, &origin).await?;
    Ok((StatusCode::NO_CONTENT, cookie::set(&session)))
}
