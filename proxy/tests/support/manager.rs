//! A manager that serves the route feed and redeems access tokens, as
//! `docs/wire.md` says.
use std::{
    collections::{BTreeMap, HashMap},
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use openflow_route_api::{Access, CookieClaims, Role, Route, RouteTable};
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::watch};
use uuid::Uuid;

use super::{ADA, BOB, INSTANCE, PROJECT, cookie_key, loopback, table};

pub(crate) const SECRET: &str = "the proxy's secret";

pub(crate) struct FakeManager {
    pub(crate) address: SocketAddr,
    state: Arc<State>,
    accepting: tokio::task::JoinHandle<()>,
}

struct State {
    table: watch::Sender<RouteTable>,
    tokens: Mutex<HashMap<String, Value>>,
    redeemed: Mutex<usize>,
}

impl Drop for FakeManager {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl FakeManager {
    /// Ada is a member of the project, Bob its owner.
    pub(crate) async fn with(routes: Vec<Route>) -> Self {
        let mut table = table(routes);
        table.revision = Some("1".to_owned());
        table.access = Some(Access {
            cookie_keys: vec![cookie_key()],
            members: BTreeMap::from([(
                PROJECT,
                BTreeMap::from([(ADA, Role::Member), (BOB, Role::Owner)]),
            )]),
            ..Access::default()
        });
        let listener = TcpListener::bind(loopback()).await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State {
            table: watch::Sender::new(table),
            tokens: Mutex::default(),
            redeemed: Mutex::default(),
        });
        let shared = Arc::clone(&state);
        let accepting = tokio::spawn(async move {
            let mut serving = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let state = Arc::clone(&shared);
                serving.spawn(async move {
                    let service = service_fn(move |request| answer(Arc::clone(&state), request));
                    let server = hyper::server::conn::http1::Builder::new();
                    server
                        .serve_connection(TokioIo::new(stream), service)
                        .await
                        .ok();
                });
            }
        });
        Self {
            address,
            state,
            accepting,
        }
    }

    pub(crate) fn url(&self) -> url::Url {
        format!("http://{}", self.address).parse().unwrap()
    }

    /// Changes the table under a new revision.
    pub(crate) fn change(&self, change: impl FnOnce(&mut RouteTable)) {
        self.state.table.send_modify(|table| {
            change(table);
            table.revision = Some(Uuid::new_v4().to_string());
        });
    }

    pub(crate) fn change_access(&self, change: impl FnOnce(&mut Access)) {
        self.change(|table| change(table.access.as_mut().unwrap()));
    }

    /// A one-use token for this user at the instance; returns its session.
    pub(crate) fn mint(&self, token: &str, user: Uuid, name: &str) -> Uuid {
        let session = Uuid::new_v4();
        let redeemed = json!({
            "sessionId": session, "userId": user, "name": name, "role": "member",
            "expiresAt": "2099-01-01T00:00:00Z",
        });
        self.state
            .tokens
            .lock()
            .unwrap()
            .insert(token.to_owned(), redeemed);
        session
    }

    pub(crate) fn redeemed(&self) -> usize {
        *self.state.redeemed.lock().unwrap()
    }
}

/// A cookie as the proxy would set it.
pub(crate) fn cookie(user: Uuid, session: Uuid) -> String {
    let claims = CookieClaims {
        session_id: session,
        user_id: user,
        name: "Ada".to_owned(),
        instance_id: INSTANCE,
        role: Role::Member,
        issued_at: 0,
        expires_at: 4_000_000_000,
    };
    format!("openflow_token={}", claims.sign(&cookie_key()))
}

async fn answer(
    state: Arc<State>,
    request: Request<hyper::body::Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (parts, body) = request.into_parts();
    let status = |status: u16| {
        Response::builder()
            .status(status)
            .body(Full::default())
            .unwrap()
    };
    if parts
        .headers
        .get("x-openflow-proxy-secret")
        .is_none_or(|secret| secret != SECRET)
    {
        return Ok(status(401));
    }
    Ok(match (parts.method.as_str(), parts.uri.path()) {
        ("GET", "/internal/v1/routes") => {
            routes(&state, parts.uri.query().unwrap_or_default()).await
        }
        ("POST", "/internal/v1/redeem") => {
            let body = body.collect().await.unwrap().to_bytes();
            let body: Value = serde_json::from_slice(&body).unwrap();
            *state.redeemed.lock().unwrap() += 1;
            let known = body["instanceId"] == INSTANCE.to_string();
            let token = body["token"].as_str().unwrap();
            match state.tokens.lock().unwrap().remove(token).filter(|_| known) {
                Some(redeemed) => Response::new(Full::from(redeemed.to_string())),
                None => status(410),
            }
        }
        _ => status(404),
    })
}

async fn routes(state: &State, query: &str) -> Response<Full<Bytes>> {
    let after = query
        .split('&')
        .find_map(|pair| pair.strip_prefix("after="));
    let mut table = state.table.subscribe();
    let changed = table.wait_for(|table| table.revision.as_deref() != after);
    match tokio::time::timeout(Duration::from_secs(10), changed).await {
        Ok(table) => Response::new(Full::from(serde_json::to_vec(&*table.unwrap()).unwrap())),
        Err(_) => Response::builder()
            .status(204)
            .body(Full::default())
            .unwrap(),
    }
}
