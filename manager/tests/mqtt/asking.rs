//! The hook as a broker asks it, and clients to ask about.
use axum::{
    body::{Body, to_bytes},
    http::Request,
};
use openflow_manager::mqtt::{Connection, Protocol};
use serde_json::{Value, json};
use tower::ServiceExt as _;
use uuid::Uuid;

use crate::support::instances::{Bench, It, eventually};

/// What the hook says to that body: its status and its JSON.
pub(crate) async fn ask(
    bench: &Bench,
    secret: Option<&str>,
    body: impl Into<Body>,
) -> (u16, Value) {
    let mut request = Request::post("/mqtt/auth").header("content-type", "application/json");
    if let Some(secret) = secret {
        request = request.header("x-openflow-hook-secret", secret);
    }
    let request = request.body(body.into()).unwrap();
    let response = bench.t.router.clone().oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    let bytes = to_bytes(response.into_body(), 1 << 16).await.unwrap();
    (status, serde_json::from_slice(&bytes).unwrap())
}

pub(crate) async fn connect(bench: &Bench, body: &Value) -> (u16, Value) {
    let secret = bench.t.settings.secrets.hook.expose();
    ask(bench, Some(secret), body.to_string()).await
}

/// What a container of the instance connects with.
pub(crate) fn credentials(bench: &Bench, it: &It) -> Value {
    let env = |name| bench.env_of(it, name).unwrap();
    let username = env("OPENFLOW_MQTT_USERNAME");
    json!({
        "username": username,
        "password": env("OPENFLOW_MQTT_PASSWORD"),
        "clientid": format!("{username}:device-1"),
        "peerhost": "172.30.0.5",
    })
}

pub(crate) fn deny() -> (u16, Value) {
    (200, json!({"result": "deny"}))
}

pub(crate) fn allow(bench: &Bench) -> (u16, Value) {
    let tenant = format!("ff/{}/", bench.project);
    let answer =
        json!({"result": "allow", "is_superuser": false, "client_attrs": {"tenant": tenant}});
    (200, answer)
}

pub(crate) async fn until(bench: &Bench, body: &Value, expected: (u16, Value)) {
    eventually("the hook is current", async || {
        (connect(bench, body).await == expected).then_some(())
    })
    .await;
}

/// An MQTT client of the bench's project.
pub(crate) struct Client {
    pub(crate) id: Uuid,
    /// What EMQX sends when it connects.
    pub(crate) body: Value,
}

impl Client {
    /// One that nobody knows.
    pub(crate) fn unknown() -> Self {
        Self {
            id: Uuid::now_v7(),
            body: Value::Null,
        }
    }

    pub(crate) fn path(&self, below: &str) -> String {
        let path = format!("/api/v1/mqtt-clients/{}/{below}", self.id);
        path.trim_end_matches('/').to_owned()
    }
}

pub(crate) fn clients_path(bench: &Bench) -> String {
    format!("/api/v1/projects/{}/mqtt-clients", bench.project)
}

pub(crate) async fn new_client(bench: &Bench, new: Value) -> Client {
    let made = bench.post(&clients_path(bench), new).await.expect(201);
    let username = made["username"].as_str().unwrap();
    Client {
        id: made["id"].as_str().unwrap().parse().unwrap(),
        body: json!({
            "username": username,
            "password": made["password"],
            "clientid": format!("{username}:device-1"),
            "peerhost": "192.0.2.7",
        }),
    }
}

/// A live connection of that user name.
pub(crate) fn connection(username: &str) -> Connection {
    Connection {
        username: username.to_owned(),
        client_id: "device-1".to_owned(),
        address: Some("192.0.2.7".parse().unwrap()),
        protocol: Protocol::V3_1_1,
        connected_at: "2026-01-02T03:04:05Z".parse().unwrap(),
    }
}
