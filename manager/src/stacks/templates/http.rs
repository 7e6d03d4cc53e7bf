use axum::{
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{
    ToSchema,
    openapi::{
        Type,
        schema::{Object, ObjectBuilder, SchemaType},
    },
};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{super::EnvVar, NewTemplate, Resources, Template, Templates};
use crate::{
    engines::Module,
    kernel::{StackId, TemplateId},
    web::{Auth, Json, PageQuery, PageView, Path, Problem, Query},
};

pub fn router(templates: Templates) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(get, patch, delete))
        .with_state(templates)
}

/// The engine judges what is in it.
fn flows_schema() -> Object {
    ObjectBuilder::new()
        .schema_type(SchemaType::from_iter([Type::Array, Type::Object, Type::Null]))
        .description(Some(
            "What a new instance starts with, as the engine's editor exports it: an array of nodes; for n8n one workflow, \
             or an array of them.",
        ))
        .build()
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Template)]
struct TemplateView {
    id: TemplateId,
    name: String,
    description: String,
    stack_id: StackId,
    env: Vec<EnvVar>,
    /// Installed when an instance is created from it.
    modules: Vec<Module>,
    #[schema(schema_with = flows_schema)]
    flows: Option<Value>,
    resources: Resources,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl From<Template> for TemplateView {
    fn from(it: Template) -> Self {
        Self {
            id: it.id,
            name: it.name,
            description: it.description,
            stack_id: it.stack,
            env: it.env.shown(),
            modules: it.modules,
            flows: it.flows,
            resources: it.resources,
            created_at: it.created_at,
            updated_at: it.updated_at,
        }
    }
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct CreateTemplate {
    name: String,
    #[serde(default)]
    description: String,
    stack_id: StackId,
    #[serde(default)]
    env: Vec<EnvVar>,
    #[serde(default)]
    modules: Vec<Module>,
    #[serde(default)]
    #[schema(schema_with = flows_schema)]
    flows: Option<Value>,
    #[serde(default)]
    resources: Resources,
}

/// What is absent stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct PatchTemplate {
    name: Option<String>,
    description: Option<String>,
    stack_id: Option<StackId>,
    env: Option<Vec<EnvVar>>,
    modules: Option<Vec<Module>>,
    #[schema(schema_with = flows_schema)]
    flows: Option<Value>,
    resources: Option<Resources>,
}

/// The templates
#[utoipa::path(get, path = "/api/v1/templates", tag = "templates", params(PageQuery),
    responses((status = 200, body = PageView<TemplateView>), (status = "4XX", body = Problem)))]
async fn list(
    State(templates): State<Templates>,
    Auth(actor): Auth,
    Query(query): Query<PageQuery>,
) -> Result<Json<PageView<TemplateView>>, Problem> {
    Ok(Json(templates.list(&actor, query.request()?).await?.into()))
}

/// Adds a template (administrators)
#[utoipa::path(post, path = "/api/v1/templates", tag = "templates", request_body = CreateTemplate,
    responses((status = 201, body = TemplateView), (status = "4XX", body = Problem)))]
async fn create(
    State(templates): State<Templates>,
    Auth(actor): Auth,
    Json(body): Json<CreateTemplate>,
) -> Result<impl IntoResponse, Problem> {
    let new = NewTemplate {
        name: body.name,
        description: body.description,
        modules: body.modules,
        flows: body.flows,
        resources: body.resources,
    };
    let template = templates
        .create(&actor, body.stack_id, new, body.env)
        .await?;
    let location = [(
        header::LOCATION,
        format!("/api/v1/templates/{}", template.id),
    )];
    Ok((
        StatusCode::CREATED,
        location,
        Json(TemplateView::from(template)),
    ))
}

/// One template
#[utoipa::path(get, path = "/api/v1/templates/{id}", tag = "templates", params(("id" = TemplateId, Path)),
    responses((status = 200, body = TemplateView), (status = "4XX", body = Problem)))]
async fn get(
    State(templates): State<Templates>,
    Auth(actor): Auth,
    Path(id): Path<TemplateId>,
) -> Result<Json<TemplateView>, Problem> {
    Ok(Json(templates.get(&actor, id).await?.into()))
}

/// Changes a template for instances to come (administrators)
#[utoipa::path(patch, path = "/api/v1/templates/{id}", tag = "templates", params(("id" = TemplateId, Path)),
    request_body = PatchTemplate,
    responses((status = 200, body = TemplateView), (status = "4XX", body = Problem)))]
async fn patch(
    State(templates): State<Templates>,
    Auth(actor): Auth,
    Path(id): Path<TemplateId>,
    Json(body): Json<PatchTemplate>,
) -> Result<Json<TemplateView>, Problem> {
    let template = templates
        .update(&actor, id, body.env, |stored| {
            let new = NewTemplate {
                name: body.name.unwrap_or_else(|| stored.name.clone()),
                description: body
                    .description
                    .unwrap_or_else(|| stored.description.clone()),
                modules: body.modules.unwrap_or_else(|| stored.modules.clone()),
                flows: body.flows.or_else(|| stored.flows.clone()),
                resources: body.resources.unwrap_or(stored.resources),
            };
            (body.stack_id.unwrap_or(stored.stack), new)
        })
        .await?;
    Ok(Json(template.into()))
}

/// Deletes a template; instances made from it stay
#[utoipa::path(delete, path = "/api/v1/templates/{id}", tag = "templates", params(("id" = TemplateId, Path)),
    responses((status = 204), (status = "4XX", body = Problem)))]
async fn delete(
    State(templates): State<Templates>,
    Auth(actor): Auth,
    Path(id): Path<TemplateId>,
) -> Result<StatusCode, Problem> {
    templates.delete(&actor, id).await?;
    Ok(StatusCode::NO_CONTENT)
}
