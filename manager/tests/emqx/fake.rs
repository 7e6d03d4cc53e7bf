//! EMQX's management API, as far as it is used, with its statuses, paging and
//! encodings.
use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{Path, RawQuery, Request, State},
    http::{StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{delete, get, post},
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use url::Url;
use uuid::Uuid;

pub(crate) const KEY: &str = "openflow:a-secret-of-the-api";
const FIELDS: &[&str] = &[
    "clientid",
    "username",
    "mountpoint",
    "ip_address",
    "proto_ver",
    "connected",
    "connected_at",
    "node",
    "port",
];
const LIMIT_MAX: usize = 10_000;

#[derive(Clone, Default)]
pub(crate) struct FakeEmqx(Arc<Mutex<Inside>>);

#[derive(Default)]
pub(crate) struct Inside {
    pub(crate) clients: Vec<Value>,
    /// How often a kicked client comes back.
    pub(crate) comebacks: usize,
    pub(crate) retained: Vec<String>,
    pub(crate) published: Vec<Value>,
    /// What `GET` of a path answers with besides.
    pub(crate) settings: HashMap<String, Value>,
    /// Method, path and query of what was asked.
    pub(crate) asked: Vec<String>,
}

impl FakeEmqx {
    /// Serves until the test ends.
    pub(crate) async fn start(&self) -> Url {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = self.router();
        tokio::spawn(async move { axum::serve(listener, router).await });
        url_of(address)
    }

    pub(crate) fn router(&self) -> Router {
        let api = Router::new()
            .route("/clients", get(clients))
            .route("/clients/kickout/bulk", post(kickout))
            .route("/publish", post(publish))
            .route("/mqtt/retainer/message/{topic}", delete(delete_retained))
            .fallback(settings)
            .with_state(self.clone());
        let auth = middleware::from_fn_with_state(self.clone(), authorize);
        Router::new().nest("/api/v5", api).layer(auth)
    }

    pub(crate) fn inside(&self) -> MutexGuard<'_, Inside> {
        self.0.lock().unwrap()
    }

    /// A client of a project, connected.
    pub(crate) fn connect(&self, project: Uuid, username: &str, id: &str) {
        self.connect_with(project, username, id, json!({}));
    }

    pub(crate) fn connect_with(&self, project: Uuid, username: &str, id: &str, other: Value) {
        let mut client = json!({"clientid": format!("{username}:{id}"), "username": username,
            "mountpoint": format!("ff/{project}/"), "ip_address": "192.0.2.7", "proto_ver": 5, "connected": true,
            "connected_at": "2026-11-20T12:34:56.789+08:00", "node": "emqx@127.0.0.1", "port": 4711});
        for (name, value) in other.as_object().unwrap() {
            client[name] = value.clone();
        }
        self.inside().clients.push(client);
    }

    /// Changes what is at `pointer` in the answer of a path.
    pub(crate) fn set(&self, path: &str, pointer: &str, value: Value) {
        let mut inside = self.inside();
        let answer = inside.settings.get_mut(path).unwrap();
        *answer.pointer_mut(pointer).unwrap() = value;
    }

    pub(crate) fn ids(&self) -> Vec<String> {
        let inside = self.inside();
        let ids = inside
            .clients
            .iter()
            .map(|it| it["clientid"].as_str().unwrap().to_owned());
        ids.collect()
    }
}

pub(crate) fn url_of(address: SocketAddr) -> Url {
    format!("http://{address}").parse().unwrap()
}

async fn authorize(State(emqx): State<FakeEmqx>, request: Request, next: Next) -> Response {
    let expected = format!("Basic {}", BASE64_STANDARD.encode(KEY));
    let shown = request.headers().get(header::AUTHORIZATION);
    if shown.is_none_or(|it| *it != *expected) {
        return refuse(401, "BAD_API_KEY_OR_SECRET", "Check api_key/api_secret");
    }
    let line = format!("{} {}", request.method(), request.uri());
    emqx.inside().asked.push(line);
    next.run(request).await
}

fn refuse(status: u16, code: &str, message: &str) -> Response {
    let status = StatusCode::from_u16(status).unwrap();
    (status, Json(json!({"code": code, "message": message}))).into_response()
}

async fn clients(State(emqx): State<FakeEmqx>, RawQuery(query): RawQuery) -> Response {
    let query = query.unwrap_or_default();
    let pairs: Vec<(String, String)> = url::form_urlencoded::parse(query.as_bytes())
        .into_owned()
        .collect();
    let all = |name: &str| -> Vec<&str> {
        pairs
            .iter()
            .filter(|(key, _)| key == name)
            .map(|(_, it)| it.as_str())
            .collect()
    };
    let number = |name: &str, default: usize| {
        all(name)
            .first()
            .map_or(Some(default), |it| it.parse().ok())
    };
    let (Some(page @ 1..), Some(limit @ 1..=LIMIT_MAX)) = (number("page", 1), number("limit", 100))
    else {
        return refuse(400, "INVALID_PARAMETER", "page_limit_invalid");
    };
    let fields = all("fields")
        .first()
        .map(|it| it.split(',').collect::<Vec<_>>());
    if fields.iter().flatten().any(|it| !FIELDS.contains(it)) {
        return refuse(400, "BAD_REQUEST", "fields");
    }
    let names = all("username");
    let inside = emqx.inside();
    let found: Vec<Value> = inside
        .clients
        .iter()
        .filter(|it| names.is_empty() || names.iter().any(|name| it["username"] == *name))
        .map(|it| {
            let mut it = it.clone();
            if let Some(fields) = &fields {
                it.as_object_mut()
                    .unwrap()
                    .retain(|name, _| fields.contains(&name.as_str()));
            }
            it
        })
        .collect();
    let hasnext = page * limit < found.len();
    let count = found.len();
    let data: Vec<Value> = found
        .into_iter()
        .skip((page - 1) * limit)
        .take(limit)
        .collect();
    let meta = json!({"page": page, "limit": limit, "count": count, "hasnext": hasnext});
    Json(json!({"data": data, "meta": meta})).into_response()
}

async fn kickout(State(emqx): State<FakeEmqx>, Json(ids): Json<Vec<String>>) -> Response {
    let mut inside = emqx.inside();
    if inside.comebacks == 0 {
        inside
            .clients
            .retain(|it| !ids.iter().any(|id| it["clientid"] == *id));
    } else {
        inside.comebacks -= 1;
    }
    StatusCode::NO_CONTENT.into_response()
}

async fn publish(State(emqx): State<FakeEmqx>, Json(body): Json<Value>) -> Response {
    if body["topic"].as_str().unwrap().contains(['+', '#']) {
        let body = json!({"reason_code": 144, "message": "topic_name_invalid"});
        return (StatusCode::BAD_REQUEST, Json(body)).into_response();
    }
    let mut inside = emqx.inside();
    inside.published.push(body);
    // As if the second one had no subscriber.
    if inside.published.len() == 2 {
        let body = json!({"reason_code": 16, "message": "no_matching_subscribers"});
        return (StatusCode::ACCEPTED, Json(body)).into_response();
    }
    Json(json!({"id": "00061D1B5B2B4A3EF441000000CE0000"})).into_response()
}

async fn delete_retained(State(emqx): State<FakeEmqx>, Path(filter): Path<String>) -> Response {
    let mut inside = emqx.inside();
    let before = inside.retained.len();
    let prefix = filter.strip_suffix('#').unwrap().to_owned();
    inside.retained.retain(|it| !it.starts_with(&prefix));
    if inside.retained.len() == before {
        return refuse(404, "NOT_FOUND", "Viewed message doesn't exist");
    }
    StatusCode::NO_CONTENT.into_response()
}

async fn settings(State(emqx): State<FakeEmqx>, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    match emqx.inside().settings.get(&path) {
        Some(value) => Json(value).into_response(),
        None => refuse(404, "NOT_FOUND", &format!("no {path}")),
    }
}

/// A server that reads a request and then answers with these bytes, and closes.
pub(crate) async fn answering(bytes: impl Into<Bytes>) -> Url {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let bytes = bytes.into();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let bytes = bytes.clone();
            tokio::spawn(async move {
                let mut buffer = [0; 8 << 10];
                let _ = stream.read(&mut buffer).await;
                let _ = stream.write_all(&bytes).await;
            });
        }
    });
    url_of(address)
}
