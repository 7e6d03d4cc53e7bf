use axum::{
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{NewStack, Stack, StackStatus, Stacks};
use crate::{
    engines::{Engine, Storage},
    kernel::StackId,
    web::{Auth, Json, PageQuery, PageView, Path, Problem, Query},
};

pub fn router(stacks: Stacks) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(get, patch, delete))
        .with_state(stacks)
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Stack)]
struct StackView {
    id: StackId,
    name: String,
    engine: Engine,
    /// Of the engine; empty until the image was seen.
    version: String,
    image: String,
    storage: Storage,
    /// An instance starts only from a ready stack.
    status: StackStatus,
    status_detail: Option<String>,
    /// The stack of an instance that names none.
    is_default: bool,
    /// What the engine's licence asks of whoever runs it for others; null when
    /// nothing.
    licence: Option<&'static str>,
    /// The engine does not start with less.
    memory_mb_min: i32,
    /// What an instance gets at least when nobody asks for a number.
    memory_mb_default: i32,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl From<Stack> for StackView {
    fn from(it: Stack) -> Self {
        let facts = it.engine.facts();
        Self {
            id: it.id,
            name: it.name,
            engine: it.engine,
            version: it.version,
            image: it.image,
            storage: it.storage,
            status: it.status,
            status_detail: it.status_detail,
            is_default: it.is_default,
            licence: facts.licence,
            memory_mb_min: facts.memory_mb_min,
            memory_mb_default: facts.memory_mb_default,
            created_at: it.created_at,
            updated_at: it.updated_at,
        }
    }
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct CreateStack {
    name: String,
    engine: Engine,
    /// An image on the host, or one that the host can pull.
    image: String,
    /// It cannot be changed later. `postgres` is for n8n, and wants a server
    /// (`OPENFLOW_INSTANCE_DATABASE_URL`).
    #[serde(default)]
    storage: Storage,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct PatchStack {
    name: Option<String>,
    /// `true` makes it the default of its engine.
    is_default: Option<bool>,
}

/// The stacks
#[utoipa::path(get, path = "/api/v1/stacks", tag = "stacks", params(PageQuery),
    responses((status = 200, body = PageView<StackView>), (status = "4XX", body = Problem)))]
async fn list(
    State(stacks): State<Stacks>,
    Auth(actor): Auth,
    Query(query): Query<PageQuery>,
) -> Result<Json<PageView<StackView>>, Problem> {
    Ok(Json(stacks.list(&actor, query.request()?).await?.into()))
}

/// Adds a stack (administrators)
#[utoipa::path(post, path = "/api/v1/stacks", tag = "stacks", request_body = CreateStack,
    responses((status = 201, body = StackView), (status = "4XX", body = Problem)))]
async fn create(
    State(stacks): State<Stacks>,
    Auth(actor): Auth,
    Json(body): Json<CreateStack>,
) -> Result<impl IntoResponse, Problem> {
    let new = NewStack::parse(&body.name, body.engine, &body.image, body.storage)?;
    let stack = stacks.create(&actor, new).await?;
    let location = [(header::LOCATION, format!("/api/v1/stacks/{}", stack.id))];
    Ok((StatusCode::CREATED, location, Json(StackView::from(stack))))
}

/// One stack
#[utoipa::path(get, path = "/api/v1/stacks/{id}", tag = "stacks", params(("id" = StackId, Path)),
    responses((status = 200, body = StackView), (status = "4XX", body = Problem)))]
async fn get(
    State(stacks): State<Stacks>,
    Auth(actor): Auth,
    Path(id): Path<StackId>,
) -> Result<Json<StackView>, Problem> {
    Ok(Json(stacks.get(&actor, id).await?.into()))
}

/// Renames a stack or makes it the default (administrators)
#[utoipa::path(patch, path = "/api/v1/stacks/{id}", tag = "stacks", params(("id" = StackId, Path)),
    request_body = PatchStack,
    responses((status = 200, body = StackView), (status = "4XX", body = Problem)))]
async fn patch(
    State(stacks): State<Stacks>,
    Auth(actor): Auth,
    Path(id): Path<StackId>,
    Json(body): Json<PatchStack>,
) -> Result<Json<StackView>, Problem> {
    let make_default = body.is_default == Some(true);
    Ok(Json(
        stacks
            .patch(&actor, id, body.name, make_default)
            .await?
            .into(),
    ))
}

/// Forgets a stack that nothing uses (administrators)
#[utoipa::path(delete, path = "/api/v1/stacks/{id}", tag = "stacks", params(("id" = StackId, Path)),
    responses((status = 204), (status = "4XX", body = Problem)))]
async fn delete(
    State(stacks): State<Stacks>,
    Auth(actor): Auth,
    Path(id): Path<StackId>,
) -> Result<StatusCode, Problem> {
    stacks.delete(&actor, id).await?;
    Ok(StatusCode::NO_CONTENT)
}
