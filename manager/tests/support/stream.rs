//! Answers that do not end: server-sent events and followed logs.
use std::time::Duration;

use axum::{
    body::{Body, BodyDataStream},
    http::Request,
};
use futures_util::StreamExt as _;
use serde_json::Value;
use tokio::time::timeout;
use tower::ServiceExt as _;

use super::{TestApp, Who};

/// Far more than an event takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Stream {
    body: BodyDataStream,
    text: String,
}

impl Stream {
    pub(crate) async fn open(t: &TestApp, path: &str, who: &Who) -> Self {
        let Who::Cookie(cookie) = who else {
            unreachable!()
        };
        let request = Request::get(path)
            .header("cookie", format!("__Host-openflow_session={cookie}"))
            .body(Body::empty())
            .unwrap();
        let response = t.router.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), 200);
        let body = response.into_body().into_data_stream();
        Self {
            body,
            text: String::new(),
        }
    }

    /// What comes up to the next `end`; `None` when the stream ends first.
    pub(crate) async fn until(&mut self, end: &str) -> Option<String> {
        loop {
            if let Some((part, rest)) = self.text.split_once(end) {
                let (part, rest) = (part.to_owned(), rest.to_owned());
                self.text = rest;
                return Some(part);
            }
            let chunk = timeout(PATIENCE, self.body.next()).await.unwrap()?;
            self.text
                .push_str(std::str::from_utf8(&chunk.unwrap()).unwrap());
        }
    }

    /// The next event's name and data.
    pub(crate) async fn event(&mut self) -> Option<(String, Value)> {
        loop {
            let event = self.until("\n\n").await?;
            let field = |name: &str| event.lines().find_map(|it| it.strip_prefix(name));
            // Comments keep the connection alive.
            if let (Some(name), Some(data)) = (field("event: "), field("data: ")) {
                return Some((name.to_owned(), serde_json::from_str(data).unwrap()));
            }
        }
    }

    /// Up to the first event that fits.
    pub(crate) async fn event_that(&mut self, mut fits: impl FnMut(&str, &Value) -> bool) -> Value {
        let found = async {
            loop {
                let (name, data) = self.event().await.unwrap();
                if fits(&name, &data) {
                    return data;
                }
            }
        };
        timeout(PATIENCE, found).await.unwrap()
    }
}
