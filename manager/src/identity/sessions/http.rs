use std::convert::Infallible;

use axum::{
    Extension,
    extract::{FromRequestParts, State},
    http::{HeaderMap, StatusCode, header, request::Parts},
    response::IntoResponse,
};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{Origin, Session};
use crate::{
    identity::{Error, Identity, cookie},
    kernel::{Actor, Secret, SessionId},
    web::{Auth, Json, PageView, Path, PeerAddr, Problem},
};

pub(in crate::identity) fn router() -> OpenApiRouter<Identity> {
    OpenApiRouter::new()
        .routes(routes!(login))
        .routes(routes!(logout))
        .routes(routes!(list))
        .routes(routes!(end))
}

impl<S: Sync> FromRequestParts<S> for Origin {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Infallible> {
        let PeerAddr(address) = PeerAddr::from_request_parts(parts, state).await?;
        let agent = parts.headers.get(header::USER_AGENT);
        Ok(Self::new(
            address,
            agent.and_then(|it| it.to_str().ok()).unwrap_or_default(),
        ))
    }
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct LoginBody {
    email: String,
    /// At most 256 bytes.
    password: Secret,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct SessionView {
    id: SessionId,
    /// Whether it is the session of this very request.
    current: bool,
    created_at: DateTime<Utc>,
    /// To the minute.
    last_seen_at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
    /// Where it was opened from; empty when that is not known.
    address: String,
    user_agent: String,
}

/// Sign in
///
/// Sets the session cookie, for 30 days. A session that the request's cookie
/// names ends. Tries are limited by account and by address.
#[utoipa::path(post, path = "/api/v1/auth/login", tag = "account", request_body = LoginBody, security(()),
    responses((status = 204, description = "Signed in; the cookie is set"), (status = "4XX", body = Problem)))]
async fn login(
    State(identity): State<Identity>,
    origin: Origin,
    headers: HeaderMap,
    Json(body): Json<LoginBody>,
) -> Result<impl IntoResponse, Problem> {
    let replaced = cookie::read(&headers).and_then(|it| it.0);
    let token = identity
        .sign_in(&body.email, &body.password, &origin, replaced)
        .await?;
    Ok((StatusCode::NO_CONTENT, cookie::set(&token)))
}

/// Sign out
///
/// Ends the session of the request's cookie, if there is one, and the editor
/// sessions that were launched from it.
#[utoipa::path(post, path = "/api/v1/auth/logout", tag = "account",
    responses((status = 204, description = "Signed out; the cookie is cleared"), (status = "4XX", body = Problem)))]
async fn logout(
    State(identity): State<Identity>,
    actor: Option<Extension<Actor>>,
) -> Result<impl IntoResponse, Problem> {
    if let Some(Extension(actor)) = actor
        && let Some(session) = actor.user().and_then(|it| it.session)
    {
        match identity.end_session(&actor, session).await {
            Ok(()) | Err(Error::SessionNotFound) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok((StatusCode::NO_CONTENT, cookie::cleared()))
}

/// Your signed-in browsers, the one used last first
#[utoipa::path(get, path = "/api/v1/me/sessions", tag = "account",
    responses((status = 200, body = PageView<SessionView>), (status = "4XX", body = Problem)))]
async fn list(
    State(identity): State<Identity>,
    Auth(actor): Auth,
) -> Result<Json<PageView<SessionView>>, Problem> {
    let current = actor.user().and_then(|it| it.session);
    let sessions = identity.list_sessions(&actor).await?;
    let views = sessions.into_iter().map(|it| view(it, current)).collect();
    Ok(Json(PageView::whole(views)))
}

/// Sign out one of your browsers
#[utoipa::path(delete, path = "/api/v1/me/sessions/{id}", tag = "account",
    params(("id" = Uuid, Path, description = "The session")),
    responses((status = 204, description = "Ended"), (status = "4XX", body = Problem)))]
async fn end(
    State(identity): State<Identity>,
    Auth(actor): Auth,
    Path(id): Path<SessionId>,
) -> Result<StatusCode, Problem> {
    identity.end_session(&actor, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn view(it: Session, current: Option<SessionId>) -> SessionView {
    SessionView {
        id: it.id,
        current: Some(it.id) == current,
        created_at: it.created_at,
        last_seen_at: it.last_seen_at,
        expires_at: it.expires_at,
        address: it.address,
        user_agent: it.user_agent,
    }
}
