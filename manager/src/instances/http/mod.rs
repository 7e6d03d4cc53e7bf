mod details;

use axum::{
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
};
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    Instance, Instances, NewInstance, restores,
    service::{Choices, Patch},
    views::{InstanceView, LaunchView, WebhookAccessBody},
};
use crate::{
    kernel::{InstanceId, ProjectId, StackId, TemplateId},
    stacks::{EnvVar, templates::Resources},
    web::{Auth, Json, PageQuery, PageView, Path, Problem, Query},
};

pub fn router(instances: Instances) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(events))
        .routes(routes!(get, patch, delete))
        .routes(routes!(start))
        .routes(routes!(stop))
        .routes(routes!(restart))
        .routes(routes!(launch))
        .routes(routes!(launch_by_name))
        .merge(details::router())
        .merge(restores::http::router())
        .with_state(instances)
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct CreateInstance {
    /// For people, 1 to 100 characters.
    name: String,
    /// 1 to 63 of `[a-z0-9-]`, unique over the installation.
    subdomain: String,
    /// The template to start from.
    template: Option<TemplateId>,
    /// The stack; the template's or the default when absent.
    stack: Option<StackId>,
    #[serde(default)]
    resources: Resources,
    #[serde(default)]
    env: Vec<EnvVar>,
}

/// What is absent stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct PatchInstance {
    name: Option<String>,
    subdomain: Option<String>,
    /// Another version: the instance is upgraded at once, and goes back when it
    /// does not become healthy.
    stack_id: Option<StackId>,
    /// Takes effect with a restart.
    #[serde(default)]
    resources: Resources,
    webhook_access: Option<WebhookAccessBody>,
}

#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct LaunchBody {
    /// A path on the instance to land on, `/` when absent.
    next: Option<String>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct LaunchByName {
    /// Subdomain or alias.
    subdomain: String,
    next: Option<String>,
}

impl Instances {
    fn view(&self, it: Instance) -> InstanceView {
        InstanceView::new(it, &self.parts.settings)
    }

    fn accepted(&self, it: Instance) -> (StatusCode, Json<InstanceView>) {
        (StatusCode::ACCEPTED, Json(self.view(it)))
    }
}

/// A project's instances
#[utoipa::path(get, path = "/api/v1/projects/{id}/instances", tag = "instances",
    params(("id" = ProjectId, Path), PageQuery),
    responses((status = 200, body = PageView<InstanceView>), (status = "4XX", body = Problem)))]
async fn list(
    State(instances): State<Instances>,
    Auth(actor): Auth,
    Path(project): Path<ProjectId>,
    Query(query): Query<PageQuery>,
) -> Result<Json<PageView<InstanceView>>, Problem> {
    let page = instances.list(&actor, project, query.request()?).await?;
    Ok(Json(page.map(|it| instances.view(it)).into()))
}

/// Creates an instance and starts it
#[utoipa::path(post, path = "/api/v1/projects/{id}/instances", tag = "instances",
    params(("id" = ProjectId, Path)), request_body = CreateInstance,
    responses((status = 201, body = InstanceView), (status = "4XX", body = Problem)))]
async fn create(
    State(instances): State<Instances>,
    Auth(actor): Auth,
    Path(project): Path<ProjectId>,
    Json(body): Json<CreateInstance>,
) -> Result<impl IntoResponse, Problem> {
    let new = NewInstance::parse(&body.name, &body.subdomain)?;
    let choices = Choices {
        template: body.template,
        stack: body.stack,
        resources: body.resources,
        env: body.env,
    };
    let instance = instances.create(&actor, project, new, choices).await?;
    let location = [(
        header::LOCATION,
        format!("/api/v1/instances/{}", instance.id),
    )];
    Ok((
        StatusCode::CREATED,
        location,
        Json(instances.view(instance)),
    ))
}

/// Changes of a project's instances as they happen
///
/// Server-sent events: first every instance, then each that changes, as `event: instance` with the instance as data;
/// `event: deleted` with `{"id"}`.
#[utoipa::path(get, path = "/api/v1/projects/{id}/events", tag = "instances", params(("id" = ProjectId, Path)),
    responses((status = 200, content_type = "text/event-stream", body = String), (status = "4XX", body = Problem)))]
async fn events(
    State(instances): State<Instances>,
    Auth(actor): Auth,
    Path(project): Path<ProjectId>,
) -> Result<impl IntoResponse, Problem> {
    Ok(instances.events(actor, project).await?)
}

/// One instance
#[utoipa::path(get, path = "/api/v1/instances/{id}", tag = "instances", params(("id" = InstanceId, Path)),
    responses((status = 200, body = InstanceView), (status = "4XX", body = Problem)))]
async fn get(
    State(instances): State<Instances>,
    Auth(actor): Auth,
    Path(id): Path<InstanceId>,
) -> Result<Json<InstanceView>, Problem> {
    let instance = instances.get(&actor, id).await?;
    Ok(Json(instances.view(instance)))
}

/// Changes an instance
#[utoipa::path(patch, path = "/api/v1/instances/{id}", tag = "instances", params(("id" = InstanceId, Path)),
    request_body = PatchInstance,
    responses((status = 200, body = InstanceView), (status = "4XX", body = Problem)))]
async fn patch(
    State(instances): State<Instances>,
    Auth(actor): Auth,
    Path(id): Path<InstanceId>,
    Json(body): Json<PatchInstance>,
) -> Result<Json<InstanceView>, Problem> {
    let patch = Patch {
        name: body.name,
        subdomain: body.subdomain,
        stack: body.stack_id,
        resources: body.resources,
        webhook_access: body
            .webhook_access
            .map(|it| (it.mode, it.username, it.secret)),
    };
    let instance = instances.patch(&actor, id, patch).await?;
    Ok(Json(instances.view(instance)))
}

/// Removes an instance and its data
#[utoipa::path(delete, path = "/api/v1/instances/{id}", tag = "instances", params(("id" = InstanceId, Path)),
    responses((status = 202, body = InstanceView), (status = "4XX", body = Problem)))]
async fn delete(
    State(instances): State<Instances>,
    Auth(actor): Auth,
    Path(id): Path<InstanceId>,
) -> Result<impl IntoResponse, Problem> {
    let instance = instances.delete(&actor, id).await?;
    Ok(instances.accepted(instance))
}

/// Starts an instance
#[utoipa::path(post, path = "/api/v1/instances/{id}/start", tag = "instances", params(("id" = InstanceId, Path)),
    responses((status = 202, body = InstanceView), (status = "4XX", body = Problem)))]
async fn start(
    State(instances): State<Instances>,
    Auth(actor): Auth,
    Path(id): Path<InstanceId>,
) -> Result<impl IntoResponse, Problem> {
    let instance = instances.start(&actor, id).await?;
    Ok(instances.accepted(instance))
}

/// Stops an instance
#[utoipa::path(post, path = "/api/v1/instances/{id}/stop", tag = "instances", params(("id" = InstanceId, Path)),
    responses((status = 202, body = InstanceView), (status = "4XX", body = Problem)))]
async fn stop(
    State(instances): State<Instances>,
    Auth(actor): Auth,
    Path(id): Path<InstanceId>,
) -> Result<impl IntoResponse, Problem> {
    let instance = instances.stop(&actor, id).await?;
    Ok(instances.accepted(instance))
}

/// Restarts an instance with its current settings
#[utoipa::path(post, path = "/api/v1/instances/{id}/restart", tag = "instances", params(("id" = InstanceId, Path)),
    responses((status = 202, body = InstanceView), (status = "4XX", body = Problem)))]
async fn restart(
    State(instances): State<Instances>,
    Auth(actor): Auth,
    Path(id): Path<InstanceId>,
) -> Result<impl IntoResponse, Problem> {
    let instance = instances.restart(&actor, id).await?;
    Ok(instances.accepted(instance))
}

/// A link that signs the caller in to the editor
#[utoipa::path(post, path = "/api/v1/instances/{id}/launch", tag = "instances", params(("id" = InstanceId, Path)),
    request_body = Option<LaunchBody>,
    responses((status = 200, body = LaunchView), (status = "4XX", body = Problem)))]
async fn launch(
    State(instances): State<Instances>,
    Auth(actor): Auth,
    Path(id): Path<InstanceId>,
    body: Option<Json<LaunchBody>>,
) -> Result<Json<LaunchView>, Problem> {
    let next = body.and_then(|Json(it)| it.next);
    let launch = instances.launch(&actor, id, next.as_deref()).await?;
    Ok(Json(launch.into()))
}

/// A link by subdomain or alias
#[utoipa::path(post, path = "/api/v1/launch", tag = "instances", request_body = LaunchByName,
    responses((status = 200, body = LaunchView), (status = "4XX", body = Problem)))]
async fn launch_by_name(
    State(instances): State<Instances>,
    Auth(actor): Auth,
    Json(body): Json<LaunchByName>,
) -> Result<Json<LaunchView>, Problem> {
    let launch = instances
        .launch_by_name(&actor, &body.subdomain, body.next.as_deref())
        .await?;
    Ok(Json(launch.into()))
}

impl From<crate::instances::launch::Launch> for LaunchView {
    fn from(it: crate::instances::launch::Launch) -> Self {
        Self {
            instance_id: it.instance,
            url: it.url,
            expires_at: it.expires_at,
        }
    }
}
