use std::{convert::Infallible, time::Duration};

use axum::{
    extract::State,
    http::StatusCode,
    response::{
        IntoResponse,
        sse::{Event, KeepAlive, Sse},
    },
};
use chrono::{DateTime, Utc};
use futures_util::StreamExt as _;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    Traffic,
    model::{self, Encoding},
    topics::{Batch, Shown},
};
use crate::{
    kernel::ProjectId,
    web::{Auth, Json, Path, Problem},
};

const HEARTBEAT: Duration = Duration::from_secs(15);

pub fn router(traffic: Traffic) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(topics))
        .routes(routes!(publish))
        .with_state(traffic)
}

/// An event of the topic browser.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct TopicsView {
    /// Those that changed.
    topics: Vec<TopicView>,
    /// How many topics there are; the first 5000 are shown.
    topic_count: usize,
    /// Messages since the watching began that are not shown.
    lost: u64,
}

/// A topic and its last message.
#[derive(Debug, Serialize, ToSchema)]
struct TopicView {
    #[schema(value_type = String)]
    topic: std::sync::Arc<str>,
    /// Its first 4 KiB.
    payload: String,
    encoding: Encoding,
    /// Whether the payload was longer.
    truncated: bool,
    /// Length of the whole payload.
    bytes: usize,
    qos: u8,
    retain: bool,
    /// Messages since the watching began.
    count: u64,
    /// Messages per second over the last ten seconds.
    rate: f64,
    /// When the last one came.
    at: DateTime<Utc>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct PublishBody {
    /// Below the project's root: 1 to 4096 bytes without `+` and `#`, not beginning with `$`.
    topic: String,
    /// At most 256 KiB; in base64 for `"encoding": "base64"`.
    payload: String,
    #[serde(default)]
    encoding: Encoding,
    /// 0, 1 or 2; 0 when absent.
    #[serde(default)]
    qos: u8,
    /// Keep it for whoever subscribes later.
    #[serde(default)]
    retain: bool,
}

impl From<Batch> for TopicsView {
    fn from(it: Batch) -> Self {
        Self {
            topics: it.topics.into_iter().map(Into::into).collect(),
            topic_count: it.topic_count,
            lost: it.lost,
        }
    }
}

impl From<Shown> for TopicView {
    fn from(it: Shown) -> Self {
        Self {
            topic: it.topic,
            payload: it.payload,
            encoding: it.encoding,
            truncated: it.truncated,
            bytes: it.bytes,
            qos: it.qos,
            retain: it.retain,
            count: it.count,
            rate: it.rate,
            at: it.at,
        }
    }
}

/// A project's MQTT topics as messages come
///
/// Server-sent events: about every half second `event: topics` with the topics that changed; the first one or ones
/// hold the retained messages. The stream ends when the broker does.
#[utoipa::path(get, path = "/api/v1/projects/{id}/mqtt/topics", tag = "mqtt", params(("id" = ProjectId, Path)),
    responses((status = 200, content_type = "text/event-stream", body = TopicsView), (status = "4XX", body = Problem)))]
async fn topics(
    State(traffic): State<Traffic>,
    Auth(actor): Auth,
    Path(project): Path<ProjectId>,
) -> Result<impl IntoResponse, Problem> {
    let batches = traffic.watch(actor, project).await?;
    let events = batches.filter_map(async |batch| {
        let event = Event::default().event("topics");
        event
            .json_data(TopicsView::from(batch))
            .ok()
            .map(Ok::<_, Infallible>)
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(HEARTBEAT)))
}

/// Publishes an MQTT message in a project
#[utoipa::path(post, path = "/api/v1/projects/{id}/mqtt/publish", tag = "mqtt", params(("id" = ProjectId, Path)),
    request_body = PublishBody, responses((status = 204), (status = "4XX", body = Problem)))]
async fn publish(
    State(traffic): State<Traffic>,
    Auth(actor): Auth,
    Path(project): Path<ProjectId>,
    Json(body): Json<PublishBody>,
) -> Result<StatusCode, Problem> {
    let flags = (body.qos, body.retain);
    let message =
        model::parse(body.topic, body.payload, body.encoding, flags).map_err(super::Error::from)?;
    traffic.publish(&actor, project, message).await?;
    Ok(StatusCode::NO_CONTENT)
}
