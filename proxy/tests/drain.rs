//! Stopping: what is under way is finished, the rest is closed.
#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

mod support;

use std::{sync::Arc, time::Duration};

use support::{HOST, PATIENCE, TestProxy, Upstream, read_head, route, table};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::Notify,
    time::timeout,
};

/// Answers when told to.
async fn held() -> (Upstream, Arc<Notify>) {
    let go = Arc::new(Notify::new());
    let told = Arc::clone(&go);
    let upstream = Upstream::raw(move |mut stream: TcpStream, _| {
        let told = Arc::clone(&told);
        async move {
            read_head(&mut stream).await;
            told.notified().await;
            stream
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone")
                .await
                .ok();
        }
    })
    .await;
    (upstream, go)
}

async fn begin(proxy: &TestProxy) -> TcpStream {
    let mut stream = TcpStream::connect(proxy.address).await.unwrap();
    let sent = format!("GET /api/x HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
    stream.write_all(sent.as_bytes()).await.unwrap();
    stream
}

#[tokio::test]
async fn a_request_under_way_is_finished_and_new_connections_are_refused() {
    let (upstream, go) = held().await;
    let mut proxy = TestProxy::fixed(table(vec![route(upstream.address)])).await;
    let mut stream = begin(&proxy).await;
    support::eventually(async || upstream.connections() == 1).await;
    proxy.shutdown.cancel();
    support::eventually(async || TcpStream::connect(proxy.address).await.is_err()).await;
    go.notify_one();
    let mut answer = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut answer))
        .await
        .unwrap()
        .unwrap();
    let answer = String::from_utf8(answer).unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.ends_with("done"),
        "{answer}"
    );
    timeout(PATIENCE, &mut proxy.served)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn idle_connections_are_closed_at_once_and_late_requests_at_the_deadline() {
    let (upstream, _go) = held().await;
    let mut proxy = TestProxy::fixed_with(table(vec![route(upstream.address)]), |config| {
        config.limits.drain_timeout = Duration::from_secs(1);
    })
    .await;
    let mut idle = TcpStream::connect(proxy.address).await.unwrap();
    let sent = "GET / HTTP/1.1\r\nHost: nobody.example.com\r\n\r\n";
    idle.write_all(sent.as_bytes()).await.unwrap();
    read_head(&mut idle).await;
    let mut late = begin(&proxy).await;
    support::eventually(async || upstream.connections() == 1).await;
    proxy.shutdown.cancel();
    let mut rest = Vec::new();
    timeout(PATIENCE, idle.read_to_end(&mut rest))
        .await
        .unwrap()
        .unwrap();
    let mut rest = Vec::new();
    timeout(PATIENCE, late.read_to_end(&mut rest))
        .await
        .unwrap()
        .ok();
    assert!(rest.is_empty());
    timeout(PATIENCE, &mut proxy.served)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn event_streams_are_not_waited_for() {
    let upstream = Upstream::raw(async |mut stream: TcpStream, _| {
        read_head(&mut stream).await;
        let answer = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n";
        stream.write_all(answer.as_bytes()).await.unwrap();
        std::future::pending::<()>().await;
    })
    .await;
    let mut proxy = TestProxy::fixed_with(table(vec![route(upstream.address)]), |config| {
        config.limits.drain_timeout = Duration::from_secs(3600);
    })
    .await;
    let mut stream = begin(&proxy).await;
    read_head(&mut stream).await;
    proxy.shutdown.cancel();
    timeout(PATIENCE, &mut proxy.served)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
}
