//! Real sockets on both sides: upstreams, a fake manager, a proxy, clients.
#![allow(
    dead_code,
    unused_imports,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "each test program uses its part; a failed step fails the test"
)]

mod manager;
mod upstream;

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use openflow_proxy::{Config, Proxy};
use openflow_route_api::{
    Engine, Key, Route, RouteState, RouteTable, TABLE_VERSION, WebhookAccess, identity_key,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tokio_util::sync::{CancellationToken, DropGuard};
use uuid::Uuid;

pub(crate) use manager::{FakeManager, cookie};
pub(crate) use upstream::Upstream;

pub(crate) const HOST: &str = "wf1.example.com";
pub(crate) const INSTANCE: Uuid = Uuid::from_u128(0x0198_f0a0_0000_7000_8000_0000_0000_0003);
pub(crate) const PROJECT: Uuid = Uuid::from_u128(0x0198_f0a0_0000_7000_8000_0000_0000_0004);
pub(crate) const ADA: Uuid = Uuid::from_u128(0x0198_f0a0_0000_7000_8000_0000_0000_0002);
pub(crate) const BOB: Uuid = Uuid::from_u128(0x0198_f0a0_0000_7000_8000_0000_0000_0005);
pub(crate) const MAGIC: &str = "a-magic-token";
/// A bound for waits that are not part of what is tested.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn loopback() -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0)
}

/// A running Node-RED instance at `upstream`, not signed in by the proxy.
pub(crate) fn route(upstream: SocketAddr) -> Route {
    Route {
        hosts: vec![HOST.to_owned(), "shop.example.com".to_owned()],
        instance_id: INSTANCE,
        project_id: Some(PROJECT),
        engine: Engine::NodeRed,
        upstream: Some(upstream),
        state: RouteState::Running,
        detail: None,
        webhook_access: WebhookAccess::Open,
        webhook_username: None,
        webhook_secret_hash: None,
        identity_key: None,
    }
}

/// The same, signed in by the proxy.
pub(crate) fn signed_route(upstream: SocketAddr) -> Route {
    Route {
        identity_key: Some(identity_key(MAGIC)),
        ..route(upstream)
    }
}

pub(crate) fn table(routes: Vec<Route>) -> RouteTable {
    RouteTable {
        version: TABLE_VERSION,
        revision: None,
        domain: "example.com".to_owned(),
        dashboard: None,
        dashboard_url: Some("http://example.com".to_owned()),
        routes,
        access: None,
    }
}

pub(crate) fn cookie_key() -> Key {
    Key::new([7; 32])
}

/// A proxy under test; stops when dropped.
pub(crate) struct TestProxy {
    pub(crate) address: SocketAddr,
    pub(crate) tls: Option<SocketAddr>,
    pub(crate) admin: Option<SocketAddr>,
    pub(crate) shutdown: CancellationToken,
    pub(crate) served: tokio::task::JoinHandle<anyhow::Result<()>>,
    _stop: DropGuard,
    _folder: tempfile::TempDir,
}

pub(crate) fn config() -> Config {
    Config {
        listen: loopback(),
        admin_listen: Some(loopback()),
        threads: 1,
        ..Config::default()
    }
}

impl TestProxy {
    /// Serves a fixed table.
    pub(crate) async fn fixed(table: RouteTable) -> Self {
        Self::fixed_with(table, |_| ()).await
    }

    pub(crate) async fn fixed_with(table: RouteTable, change: impl FnOnce(&mut Config)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("routes.json");
        std::fs::write(&path, serde_json::to_vec(&table).unwrap()).unwrap();
        let mut config = config();
        config.routes = Some(path);
        change(&mut config);
        Self::start(config, folder).await
    }

    /// Follows `manager`, and has taken its table.
    pub(crate) async fn following(manager: &FakeManager) -> Self {
        let mut config = config();
        config.manager = manager.url();
        config.secret = Some(openflow_proxy::Secret::new(manager::SECRET));
        let proxy = Self::start(config, tempfile::tempdir().unwrap()).await;
        proxy.ready().await;
        proxy
    }

    pub(crate) async fn start(config: Config, folder: tempfile::TempDir) -> Self {
        let proxy = Proxy::bind(config).await.unwrap();
        let shutdown = CancellationToken::new();
        Self {
            address: proxy.address(),
            tls: proxy.tls_address(),
            admin: proxy.admin_address(),
            served: tokio::spawn(proxy.serve(shutdown.clone())),
            _stop: shutdown.clone().drop_guard(),
            shutdown,
            _folder: folder,
        }
    }

    pub(crate) async fn ready(&self) {
        let admin = self.admin.unwrap();
        eventually(async || get_from(admin, "localhost", "/ready").await.status == StatusCode::OK)
            .await;
    }

    pub(crate) async fn get(&self, host: &str, path: &str) -> Reply {
        get_from(self.address, host, path).await
    }

    pub(crate) async fn send(&self, request: Request<Full<Bytes>>) -> Reply {
        send_to(self.address, request).await
    }
}

#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Reply {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

pub(crate) fn request(method: &str, host: &str, path: &str) -> http::request::Builder {
    Request::builder()
        .method(method)
        .uri(path)
        .header("host", host)
}

pub(crate) async fn get_from(address: SocketAddr, host: &str, path: &str) -> Reply {
    send_to(
        address,
        request("GET", host, path).body(Full::default()).unwrap(),
    )
    .await
}

/// One request on a connection of its own.
pub(crate) async fn send_to(address: SocketAddr, request: Request<Full<Bytes>>) -> Reply {
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    let response = timeout(PATIENCE, sender.send_request(request))
        .await
        .unwrap()
        .unwrap();
    reply(response).await
}

pub(crate) async fn reply(response: Response<hyper::body::Incoming>) -> Reply {
    let (parts, body) = response.into_parts();
    let body = timeout(PATIENCE, body.collect())
        .await
        .unwrap()
        .unwrap()
        .to_bytes();
    Reply {
        status: parts.status,
        headers: parts.headers,
        body,
    }
}

/// Writes bytes as they are and reads to the end.
pub(crate) async fn raw(address: SocketAddr, bytes: impl AsRef<[u8]>) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes.as_ref()).await.unwrap();
    let mut answer = Vec::new();
    // A reset after the answer is an end too.
    timeout(PATIENCE, stream.read_to_end(&mut answer))
        .await
        .unwrap()
        .ok();
    String::from_utf8_lossy(&answer).into_owned()
}

/// Reads until the head's end; head and what came after it.
pub(crate) async fn read_head(
    stream: &mut (impl tokio::io::AsyncRead + Unpin),
) -> (String, Vec<u8>) {
    let mut bytes = Vec::new();
    loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let rest = bytes.split_off(end + 4);
            return (String::from_utf8(bytes).unwrap(), rest);
        }
        let read = timeout(PATIENCE, stream.read_buf(&mut bytes))
            .await
            .unwrap()
            .unwrap();
        assert_ne!(
            read,
            0,
            "ended in the head: {}",
            String::from_utf8_lossy(&bytes)
        );
    }
}

pub(crate) async fn eventually(mut holds: impl AsyncFnMut() -> bool) {
    let end = tokio::time::Instant::now() + PATIENCE;
    while !holds().await {
        assert!(tokio::time::Instant::now() < end, "did not come true");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
