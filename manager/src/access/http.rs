//! What proxy and shim ask. Not part of the public API: see `docs/wire.md`.
use axum::{Router, extract::State, http::HeaderMap, routing::post};
use chrono::{DateTime, Utc};
use openflow_route_api::Role;
use serde::{Deserialize, Serialize};

use super::{Access, EditorSession, Error};
use crate::{
    crypto::constant_time_eq,
    kernel::{EditorSessionId, InstanceId, Secret, UserId},
    web::{Json, Problem},
};

pub const PROXY_SECRET_HEADER: &str = "x-openflow-proxy-secret";

#[derive(Clone)]
struct ProxySide {
    access: Access,
    secret: Secret,
}

/// For the proxy, which shows the shared secret.
pub fn proxy_router(access: Access, secret: Secret) -> Router {
    Router::new()
        .route("/internal/v1/redeem", post(redeem))
        .with_state(ProxySide { access, secret })
}

/// For the settings shim, which shows its magic token. The one part of the
/// manager, besides the broker's hook, that the instance network reaches.
pub fn shim_router(access: Access) -> Router {
    Router::new()
        .route("/shim/v1/redeem", post(shim_redeem))
        .with_state(access)
}

/// Fails unless the proxy's shared secret is in the headers.
pub fn require_proxy(headers: &HeaderMap, secret: &Secret) -> Result<(), Error> {
    let shown = headers
        .get(PROXY_SECRET_HEADER)
        .map_or(&[][..], |it| it.as_bytes());
    if constant_time_eq(shown, secret.expose().as_bytes()) {
        return Ok(());
    }
    Err(Error::WrongSecret)
}

/// The magic token that a shim shows.
pub fn magic_of(headers: &HeaderMap) -> Result<&str, Error> {
    headers
        .get(http::header::AUTHORIZATION)
        .and_then(|it| it.to_str().ok())
        .and_then(|it| it.strip_prefix("Bearer "))
        .ok_or(Error::WrongSecret)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RedeemBody {
    instance_id: InstanceId,
    token: Secret,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SessionView {
    session_id: EditorSessionId,
    user_id: UserId,
    name: String,
    role: Role,
    expires_at: DateTime<Utc>,
}

impl From<EditorSession> for SessionView {
    fn from(it: EditorSession) -> Self {
        Self {
            session_id: it.id,
            user_id: it.user,
            name: it.name,
            role: it.role,
            expires_at: it.expires_at,
        }
    }
}

async fn redeem(
    State(side): State<ProxySide>,
    headers: HeaderMap,
    Json(body): Json<RedeemBody>,
) -> Result<Json<SessionView>, Problem> {
    require_proxy(&headers, &side.secret)?;
    let session = side
        .access
        .redeem(body.token.expose(), body.instance_id)
        .await?;
    Ok(Json(session.into()))
}

#[derive(Deserialize)]
struct ShimRedeemBody {
    token: Secret,
}

async fn shim_redeem(
    State(access): State<Access>,
    headers: HeaderMap,
    Json(body): Json<ShimRedeemBody>,
) -> Result<Json<SessionView>, Problem> {
    let magic = magic_of(&headers)?;
    let session = access.redeem_with_magic(magic, body.token.expose()).await?;
    Ok(Json(session.into()))
}
