use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{Event, EventKind};
use crate::{
    kernel::ProjectId,
    mqtt::Mqtt,
    web::{Auth, Json, PageQuery, PageView, Path, Problem, Query},
};

pub(in crate::mqtt) fn router() -> OpenApiRouter<Mqtt> {
    OpenApiRouter::new().routes(routes!(list))
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = MqttEvent)]
struct EventView {
    at: DateTime<Utc>,
    kind: EventKind,
    username: String,
    /// The instance's or client's name at that time.
    name: Option<String>,
    /// Empty when it is about all connections of the user name.
    client_id: String,
    address: Option<String>,
    /// Why, in plain words.
    reason: Option<String>,
}

impl From<Event> for EventView {
    fn from(it: Event) -> Self {
        Self {
            at: it.at,
            kind: it.kind,
            username: it.username,
            name: it.name,
            client_id: it.client_id,
            address: it.address,
            reason: it.reason,
        }
    }
}

/// What happened at the broker lately, newest first
///
/// The newest 500 of the project are kept; of a device that does the same over and over only some each minute.
#[utoipa::path(get, path = "/api/v1/projects/{id}/mqtt/events", tag = "mqtt",
    params(("id" = ProjectId, Path), PageQuery),
    responses((status = 200, body = PageView<EventView>), (status = "4XX", body = Problem)))]
async fn list(
    State(mqtt): State<Mqtt>,
    Auth(actor): Auth,
    Path(project): Path<ProjectId>,
    Query(query): Query<PageQuery>,
) -> Result<Json<PageView<EventView>>, Problem> {
    let page = mqtt.list_events(&actor, project, query.request()?).await?;
    Ok(Json(page.into()))
}
