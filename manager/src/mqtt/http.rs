//! The broker as a project's people see it.
use std::net::IpAddr;

use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use super::{
    BrokerKind, Limits, Mqtt, Protocol, Urls, clients, events,
    model::Owner,
    service::{Named, Overview},
};
use crate::{
    kernel::ProjectId,
    web::{Auth, Json, PageView, Path, Problem},
};

/// All of the slice but the hook.
pub fn router(mqtt: Mqtt) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(overview))
        .routes(routes!(connections))
        .merge(clients::http::router())
        .merge(events::http::router())
        .with_state(mqtt)
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = MqttOverview)]
struct OverviewView {
    /// Which one it is: `built-in`, `emqx` or `none`.
    #[schema(value_type = String)]
    broker: &'static str,
    /// `up` or `down`.
    #[schema(value_type = String)]
    state: &'static str,
    /// What is wrong and what to do.
    detail: Option<String>,
    urls: Urls,
    /// `null` where the broker has its own.
    limits: Option<Limits>,
    /// Connections of the project, at most 1000; `null` when the broker does not tell.
    connected: Option<usize>,
}

impl From<Overview> for OverviewView {
    fn from(it: Overview) -> Self {
        Self {
            broker: match it.kind {
                BrokerKind::BuiltIn => "built-in",
                BrokerKind::Emqx => "emqx",
                BrokerKind::None => "none",
            },
            state: if it.is_up { "up" } else { "down" },
            detail: it.detail,
            urls: it.info.urls,
            limits: it.info.limits,
            connected: it.connected,
        }
    }
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = MqttConnection)]
struct ConnectionView {
    /// As the client chose it.
    client_id: String,
    username: String,
    /// `instance` or `client`
    #[schema(value_type = String)]
    kind: &'static str,
    name: String,
    instance_id: Option<Uuid>,
    mqtt_client_id: Option<Uuid>,
    #[schema(value_type = Option<String>)]
    address: Option<IpAddr>,
    /// `3.1`, `3.1.1` or `5`
    #[schema(value_type = String)]
    protocol: &'static str,
    connected_at: DateTime<Utc>,
}

impl From<Named> for ConnectionView {
    fn from(it: Named) -> Self {
        let connection = it.connection;
        Self {
            client_id: connection.client_id,
            username: connection.username,
            kind: match it.owner {
                Some(Owner::Instance(_)) => "instance",
                Some(Owner::Client(_)) | None => "client",
            },
            name: it.name,
            instance_id: it.owner.and_then(Owner::instance),
            mqtt_client_id: it.owner.and_then(Owner::client),
            address: connection.address,
            protocol: match connection.protocol {
                Protocol::V3 => "3.1",
                Protocol::V3_1_1 => "3.1.1",
                Protocol::V5 => "5",
            },
            connected_at: connection.connected_at,
        }
    }
}

/// The broker of a project: how it is and how devices reach it
#[utoipa::path(get, path = "/api/v1/projects/{id}/mqtt", tag = "mqtt", params(("id" = ProjectId, Path)),
    responses((status = 200, body = OverviewView), (status = "4XX", body = Problem)))]
async fn overview(
    State(mqtt): State<Mqtt>,
    Auth(actor): Auth,
    Path(project): Path<ProjectId>,
) -> Result<Json<OverviewView>, Problem> {
    Ok(Json(mqtt.overview(&actor, project).await?.into()))
}

/// Who of a project is connected, at most 1000
#[utoipa::path(get, path = "/api/v1/projects/{id}/mqtt/connections", tag = "mqtt",
    params(("id" = ProjectId, Path)),
    responses((status = 200, body = PageView<ConnectionView>), (status = "4XX", body = Problem),
        (status = 503, description = "The broker does not tell", body = Problem)))]
async fn connections(
    State(mqtt): State<Mqtt>,
    Auth(actor): Auth,
    Path(project): Path<ProjectId>,
) -> Result<Json<PageView<ConnectionView>>, Problem> {
    let connections = mqtt.connections(&actor, project).await?;
    let items = connections.into_iter().map(ConnectionView::from).collect();
    Ok(Json(PageView::whole(items)))
}
