use axum::{Extension, extract::State, http::StatusCode};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{ApiToken, InUse, NewToken, Scope};
use crate::{
    identity::Identity,
    kernel::ApiTokenId,
    web::{Auth, Json, PageView, Path, Problem},
};

pub(in crate::identity) fn router() -> OpenApiRouter<Identity> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(delete))
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct TokenView {
    id: ApiTokenId,
    name: String,
    scopes: Vec<Scope>,
    /// `null`: does not expire.
    expires_at: Option<DateTime<Utc>>,
    /// To the minute; `null`: never used.
    last_used_at: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct CreateTokenBody {
    /// 1 to 100 characters.
    name: String,
    scopes: Vec<Scope>,
    /// Absent: does not expire.
    expires_at: Option<DateTime<Utc>>,
}

#[derive(Serialize, ToSchema)]
struct CreatedToken {
    id: ApiTokenId,
    /// `ofp_…`, shown this once.
    token: String,
}

/// Your personal access tokens, the newest first
#[utoipa::path(get, path = "/api/v1/me/tokens", tag = "account",
    responses((status = 200, body = PageView<TokenView>), (status = "4XX", body = Problem)))]
async fn list(
    State(identity): State<Identity>,
    Auth(actor): Auth,
) -> Result<Json<PageView<TokenView>>, Problem> {
    let tokens = identity.list_tokens(&actor).await?;
    let views = tokens.into_iter().map(TokenView::from).collect();
    Ok(Json(PageView::whole(views)))
}

/// Make a personal access token
///
/// A token may make tokens, if it has the scope `write`, but none that outlive
/// it.
#[utoipa::path(post, path = "/api/v1/me/tokens", tag = "account", request_body = CreateTokenBody,
    responses((status = 201, body = CreatedToken), (status = "4XX", body = Problem)))]
async fn create(
    State(identity): State<Identity>,
    Auth(actor): Auth,
    minter: Option<Extension<InUse>>,
    Json(body): Json<CreateTokenBody>,
) -> Result<(StatusCode, Json<CreatedToken>), Problem> {
    let minter = minter.as_ref().map(|it| &it.0);
    let now = identity.clock.now();
    let new = NewToken::new(&body.name, body.scopes, body.expires_at, minter, now)?;
    let (id, token) = identity.create_token(&actor, &new).await?;
    let token = token.expose().to_owned();
    Ok((StatusCode::CREATED, Json(CreatedToken { id, token })))
}

/// Revoke a personal access token
#[utoipa::path(delete, path = "/api/v1/me/tokens/{id}", tag = "account",
    params(("id" = Uuid, Path, description = "The token")),
    responses((status = 204, description = "Revoked"), (status = "4XX", body = Problem)))]
async fn delete(
    State(identity): State<Identity>,
    Auth(actor): Auth,
    Path(id): Path<ApiTokenId>,
) -> Result<StatusCode, Problem> {
    identity.delete_token(&actor, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

impl From<ApiToken> for TokenView {
    fn from(it: ApiToken) -> Self {
        Self {
            id: it.id,
            name: it.name,
            scopes: it.scopes,
            expires_at: it.expires_at,
            last_used_at: it.last_used_at,
            created_at: it.created_at,
        }
    }
}
