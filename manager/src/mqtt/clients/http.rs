use axum::{
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    Client,
    model::{NewClient, Patch, WithPassword},
};
use crate::{
    kernel::{MqttClientId, ProjectId},
    mqtt::Mqtt,
    web::{Auth, Json, PageQuery, PageView, Path, Problem, Query},
};

pub(in crate::mqtt) fn router() -> OpenApiRouter<Mqtt> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(get, patch, delete))
        .routes(routes!(rotate))
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = MqttClient)]
struct ClientView {
    id: MqttClientId,
    project_id: ProjectId,
    name: String,
    /// The user name at the broker: the id.
    username: String,
    /// Topic filters below the project's root where it may publish; `null`:
    /// everywhere in the project, empty: nowhere.
    publish: Option<Vec<String>>,
    /// What it may subscribe to, likewise.
    subscribe: Option<Vec<String>>,
    disabled: bool,
    /// When it last connected, to the minute.
    last_seen_at: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl From<Client> for ClientView {
    fn from(it: Client) -> Self {
        Self {
            username: it.username(),
            id: it.id,
            project_id: it.project,
            name: it.name,
            publish: it.publish,
            subscribe: it.subscribe,
            disabled: it.disabled,
            last_seen_at: it.last_seen_at,
            created_at: it.created_at,
            updated_at: it.updated_at,
        }
    }
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = MqttClientWithPassword)]
struct WithPasswordView {
    #[serde(flatten)]
    client: ClientView,
    /// Shown this once.
    password: String,
}

impl From<WithPassword> for WithPasswordView {
    fn from(it: WithPassword) -> Self {
        Self {
            client: it.client.into(),
            password: it.password.expose().to_owned(),
        }
    }
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct CreateMqttClient {
    /// For people, 1 to 100 characters, once in the project.
    name: String,
    /// At most 50 topic filters; everything of the project when absent.
    publish: Option<Vec<String>>,
    /// At most 50 topic filters; everything of the project when absent.
    subscribe: Option<Vec<String>>,
}

/// What is absent stays; `null` lifts a restriction.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct PatchMqttClient {
    name: Option<String>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<Vec<String>>)]
    publish: Option<Option<Vec<String>>>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<Vec<String>>)]
    subscribe: Option<Option<Vec<String>>>,
    disabled: Option<bool>,
}

/// Tells a `null` from a field that is absent.
fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Option<T>, D::Error> {
    T::deserialize(from).map(Some)
}

/// A project's MQTT clients
#[utoipa::path(get, path = "/api/v1/projects/{id}/mqtt-clients", tag = "mqtt",
    params(("id" = ProjectId, Path), PageQuery),
    responses((status = 200, body = PageView<ClientView>), (status = "4XX", body = Problem)))]
async fn list(
    State(mqtt): State<Mqtt>,
    Auth(actor): Auth,
    Path(project): Path<ProjectId>,
    Query(query): Query<PageQuery>,
) -> Result<Json<PageView<ClientView>>, Problem> {
    let page = mqtt.list_clients(&actor, project, query.request()?).await?;
    Ok(Json(page.into()))
}

/// Makes credentials for a device
///
/// The answer is the only place where the password shows.
#[utoipa::path(post, path = "/api/v1/projects/{id}/mqtt-clients", tag = "mqtt",
    params(("id" = ProjectId, Path)), request_body = CreateMqttClient,
    responses((status = 201, body = WithPasswordView), (status = "4XX", body = Problem)))]
async fn create(
    State(mqtt): State<Mqtt>,
    Auth(actor): Auth,
    Path(project): Path<ProjectId>,
    Json(body): Json<CreateMqttClient>,
) -> Result<impl IntoResponse, Problem> {
    let new = NewClient {
        name: body.name,
        publish: body.publish,
        subscribe: body.subscribe,
    };
    let made = mqtt.create_client(&actor, project, new).await?;
    let at = format!("/api/v1/mqtt-clients/{}", made.client.id);
    let view = Json(WithPasswordView::from(made));
    Ok((StatusCode::CREATED, [(header::LOCATION, at)], view))
}

/// One MQTT client
#[utoipa::path(get, path = "/api/v1/mqtt-clients/{id}", tag = "mqtt", params(("id" = MqttClientId, Path)),
    responses((status = 200, body = ClientView), (status = "4XX", body = Problem)))]
async fn get(
    State(mqtt): State<Mqtt>,
    Auth(actor): Auth,
    Path(id): Path<MqttClientId>,
) -> Result<Json<ClientView>, Problem> {
    Ok(Json(mqtt.client(&actor, id).await?.into()))
}

/// Changes an MQTT client
///
/// Its connections end when it is disabled or may do something else than
/// before.
#[utoipa::path(patch, path = "/api/v1/mqtt-clients/{id}", tag = "mqtt", params(("id" = MqttClientId, Path)),
    request_body = PatchMqttClient,
    responses((status = 200, body = ClientView), (status = "4XX", body = Problem)))]
async fn patch(
    State(mqtt): State<Mqtt>,
    Auth(actor): Auth,
    Path(id): Path<MqttClientId>,
    Json(body): Json<PatchMqttClient>,
) -> Result<Json<ClientView>, Problem> {
    let patch = Patch {
        name: body.name,
        publish: body.publish,
        subscribe: body.subscribe,
        disabled: body.disabled,
    };
    Ok(Json(mqtt.patch_client(&actor, id, patch).await?.into()))
}

/// Removes an MQTT client and ends its connections
#[utoipa::path(delete, path = "/api/v1/mqtt-clients/{id}", tag = "mqtt", params(("id" = MqttClientId, Path)),
    responses((status = 204), (status = "4XX", body = Problem)))]
async fn delete(
    State(mqtt): State<Mqtt>,
    Auth(actor): Auth,
    Path(id): Path<MqttClientId>,
) -> Result<StatusCode, Problem> {
    mqtt.delete_client(&actor, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A new password; connections made with the old one end
#[utoipa::path(post, path = "/api/v1/mqtt-clients/{id}/rotate", tag = "mqtt", params(("id" = MqttClientId, Path)),
    responses((status = 200, body = WithPasswordView), (status = "4XX", body = Problem)))]
async fn rotate(
    State(mqtt): State<Mqtt>,
    Auth(actor): Auth,
    Path(id): Path<MqttClientId>,
) -> Result<Json<WithPasswordView>, Problem> {
    Ok(Json(mqtt.rotate_client(&actor, id).await?.into()))
}
