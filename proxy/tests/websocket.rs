//! Upgrades: what passes, what never does, and when they end.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a failed step fails the test"
)]

mod support;

use std::sync::{Arc, Mutex};

use openflow_route_api::{Role, RouteState};
use support::{
    ADA, FakeManager, HOST, PATIENCE, TestProxy, Upstream, cookie, raw, read_head, route,
    signed_route, table,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use uuid::Uuid;

/// Switches and echoes bytes; remembers the heads.
async fn echo() -> (Upstream, Arc<Mutex<Vec<String>>>) {
    let heads: Arc<Mutex<Vec<String>>> = Arc::default();
    let remember = Arc::clone(&heads);
    let upstream = Upstream::raw(move |mut stream: TcpStream, _| {
        let remember = Arc::clone(&remember);
        async move {
            let (head, rest) = read_head(&mut stream).await;
            remember.lock().unwrap().push(head);
            assert!(rest.is_empty(), "bytes before the 101: {rest:?}");
            let answer = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                          Sec-WebSocket-Accept: abc\r\n\r\nearly";
            stream.write_all(answer.as_bytes()).await.unwrap();
            let (mut read, mut write) = stream.split();
            tokio::io::copy(&mut read, &mut write).await.ok();
        }
    })
    .await;
    (upstream, heads)
}

fn upgrade(path: &str, headers: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: {HOST}\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
    )
}

/// An open tunnel, after its early bytes.
async fn open(proxy: &TestProxy, head: &str) -> (String, TcpStream) {
    let mut stream = TcpStream::connect(proxy.address).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    let (head, mut rest) = read_head(&mut stream).await;
    if head.starts_with("HTTP/1.1 101") {
        while rest.len() < 5 {
            stream.read_buf(&mut rest).await.unwrap();
        }
        assert_eq!(rest, b"early");
    }
    (head, stream)
}

async fn echoes(stream: &mut TcpStream, text: &[u8]) {
    stream.write_all(text).await.unwrap();
    let mut back = vec![0; text.len()];
    timeout(PATIENCE, stream.read_exact(&mut back))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(back, text);
}

async fn closes(mut stream: TcpStream) {
    let mut rest = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut rest))
        .await
        .expect("still open")
        .ok();
}

#[tokio::test]
async fn bytes_pass_both_ways_after_the_101() {
    let (upstream, heads) = echo().await;
    let proxy = TestProxy::fixed(table(vec![route(upstream.address)])).await;
    let sent = upgrade("/api/ws", "") + "sent too early";
    let (head, mut stream) = open(&proxy, &sent).await;
    assert!(
        head.contains("sec-websocket-accept: abc") && head.contains("upgrade: websocket"),
        "{head}"
    );
    let mut early = [0; 14];
    timeout(PATIENCE, stream.read_exact(&mut early))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        &early, b"sent too early",
        "held back until the 101, then passed"
    );
    for _ in 0..3 {
        echoes(&mut stream, b"hello").await;
    }
    let head = heads.lock().unwrap()[0].to_lowercase();
    assert!(
        head.contains("connection: upgrade\r\n") && head.contains("sec-websocket-key:"),
        "{head}"
    );
    stream.shutdown().await.unwrap();
    closes(stream).await;
}

#[tokio::test]
async fn another_answer_to_an_upgrade_is_an_ordinary_one() {
    let upstream = Upstream::echo().await;
    let proxy = TestProxy::fixed(table(vec![route(upstream.address)])).await;
    let smuggled = format!("GET /api/second HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n");
    let answer = raw(proxy.address, upgrade("/api/first", "") + &smuggled).await;
    assert_eq!(answer.matches("HTTP/1.1 200 OK").count(), 2, "{answer}");
    let paths: Vec<_> = upstream.seen().into_iter().map(|seen| seen.path).collect();
    assert_eq!(paths, ["/api/first", "/api/second"]);
}

#[tokio::test]
async fn editor_sockets_need_a_cookie_and_their_own_page() {
    let (upstream, heads) = echo().await;
    let manager = FakeManager::with(vec![signed_route(upstream.address)]).await;
    let proxy = TestProxy::following(&manager).await;
    let cookie = cookie(ADA, Uuid::new_v4());
    for (headers, status) in [
        (String::new(), "401"),
        ("Cookie: openflow_token=forged\r\n".to_owned(), "401"),
        (
            format!("Cookie: {cookie}\r\nOrigin: http://evil.example.com\r\n"),
            "403",
        ),
        (
            format!("Cookie: {cookie}\r\nOrigin: http://wf1.example.com.evil.org\r\n"),
            "403",
        ),
        (
            format!("Cookie: {cookie}\r\nOrigin: http://{HOST}:1\r\n"),
            "403",
        ),
        (format!("Cookie: {cookie}\r\nOrigin: null\r\n"), "403"),
        (
            format!("Cookie: {cookie}\r\nOrigin: http://{HOST}\r\n"),
            "101",
        ),
    ] {
        let (head, _) = open(&proxy, &upgrade("/comms", &headers)).await;
        assert!(
            head.starts_with(&format!("HTTP/1.1 {status}")),
            "{headers}: {head}"
        );
    }
    let heads = heads.lock().unwrap();
    assert_eq!(heads.len(), 1);
    assert!(heads[0].contains("x-openflow-identity:") && !heads[0].contains("openflow_token"));
}

#[tokio::test]
async fn a_token_in_an_upgrade_s_url_is_redeemed_and_taken_out() {
    let (upstream, heads) = echo().await;
    let manager = FakeManager::with(vec![signed_route(upstream.address)]).await;
    let proxy = TestProxy::following(&manager).await;
    manager.mint("T", ADA, "Ada");
    let sent = upgrade("/comms?a=1&access_token=T", "");
    let (head, mut stream) = open(&proxy, &sent).await;
    assert!(head.contains("set-cookie: openflow_token="), "{head}");
    echoes(&mut stream, b"hello").await;
    assert!(heads.lock().unwrap()[0].starts_with("GET /comms?a=1 HTTP/1.1\r\n"));
    let (head, _) = open(&proxy, &sent).await;
    assert!(head.starts_with("HTTP/1.1 401"), "{head}");
}

/// A tunnel of Ada's that `change` must end.
async fn ended_by(change: impl FnOnce(&FakeManager, Uuid)) {
    let (upstream, _) = echo().await;
    let manager = FakeManager::with(vec![signed_route(upstream.address)]).await;
    let proxy = TestProxy::following(&manager).await;
    let session = Uuid::new_v4();
    let headers = format!(
        "Cookie: {}\r\nOrigin: http://{HOST}\r\n",
        cookie(ADA, session)
    );
    let (_, mut stream) = open(&proxy, &upgrade("/comms", &headers)).await;
    echoes(&mut stream, b"hello").await;
    manager.change(|table| table.routes[0].detail = Some("something else changed".to_owned()));
    echoes(&mut stream, b"still here").await;
    change(&manager, session);
    closes(stream).await;
}

#[tokio::test]
async fn a_removed_member_loses_the_socket() {
    ended_by(|manager, _| manager.change_access(|access| access.members.clear())).await;
}

#[tokio::test]
async fn a_revoked_session_loses_the_socket() {
    ended_by(|manager, session| {
        manager.change_access(|access| {
            access.revoked_sessions.insert(session);
        });
    })
    .await;
}

#[tokio::test]
async fn a_demoted_member_loses_the_socket_and_may_come_back_as_viewer() {
    ended_by(|manager, _| {
        manager.change_access(|access| {
            access.members.values_mut().for_each(|members| {
                members.insert(ADA, Role::Viewer);
            });
        });
    })
    .await;
}

#[tokio::test]
async fn sockets_of_a_removed_or_moved_instance_end() {
    ended_by(|manager, _| manager.change(|table| table.routes.clear())).await;
    ended_by(|manager, _| {
        manager.change(|table| {
            table.routes[0].upstream = Some(support::loopback());
            table.routes[0].state = RouteState::Starting;
        });
    })
    .await;
}

#[tokio::test]
async fn sockets_end_when_the_proxy_stops() {
    let (upstream, _) = echo().await;
    let proxy = TestProxy::fixed(table(vec![route(upstream.address)])).await;
    let (_, mut stream) = open(&proxy, &upgrade("/api/ws", "")).await;
    echoes(&mut stream, b"hello").await;
    proxy.shutdown.cancel();
    closes(stream).await;
}

#[tokio::test]
async fn an_event_stream_of_a_revoked_session_ends_too() {
    let upstream = Upstream::raw(async |mut stream: TcpStream, _| {
        read_head(&mut stream).await;
        let answer = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n";
        stream.write_all(answer.as_bytes()).await.unwrap();
        std::future::pending::<()>().await;
    })
    .await;
    let manager = FakeManager::with(vec![signed_route(upstream.address)]).await;
    let proxy = TestProxy::following(&manager).await;
    let session = Uuid::new_v4();
    let cookie = cookie(ADA, session);
    let mut stream = TcpStream::connect(proxy.address).await.unwrap();
    let sent = format!("GET /events HTTP/1.1\r\nHost: {HOST}\r\nCookie: {cookie}\r\n\r\n");
    stream.write_all(sent.as_bytes()).await.unwrap();
    let (head, _) = read_head(&mut stream).await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    manager.change_access(|access| {
        access.revoked_sessions.insert(session);
    });
    closes(stream).await;
}
