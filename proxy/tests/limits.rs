//! What a client can make the proxy hold or wait for is bounded.
#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

mod support;

use std::time::Duration;

use support::{HOST, TestProxy, Upstream, raw, read_head, route, table};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

async fn proxy(upstream: &Upstream, change: impl FnOnce(&mut openflow_proxy::Limits)) -> TestProxy {
    TestProxy::fixed_with(table(vec![route(upstream.address)]), |config| {
        change(&mut config.limits)
    })
    .await
}

#[tokio::test]
async fn large_heads_are_refused_and_those_below_the_bound_pass() {
    let upstream = Upstream::echo().await;
    let proxy = proxy(&upstream, |_| ()).await;
    let head = |bytes: usize| {
        let filler = "a".repeat(bytes);
        format!(
            "GET /api/x HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\nX-Filler: {filler}\r\n\r\n"
        )
    };
    let answer = raw(proxy.address, head(48 * 1024)).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let answer = raw(proxy.address, head(80 * 1024)).await;
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    let many = "A: b\r\n".repeat(300);
    let answer = raw(
        proxy.address,
        format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n{many}\r\n"),
    )
    .await;
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    assert_eq!(upstream.seen().len(), 1);
}

#[tokio::test]
async fn silent_and_slow_clients_are_cut_off() {
    let upstream = Upstream::echo().await;
    let proxy = proxy(&upstream, |limits| {
        limits.header_timeout = Duration::from_millis(300)
    })
    .await;
    for sent in [
        String::new(),
        "PRI * HT".to_owned(),
        format!("GET /api/x HTTP/1.1\r\nHost: {HOST}\r\n"),
        format!("GET /api/x HTTP/1.1\r\nHost: {HOST}\r\n\r\n"), // idle after its answer
    ] {
        raw(proxy.address, sent).await; // returns when the proxy closes
    }
}

#[tokio::test]
async fn a_body_that_stops_is_given_up() {
    let upstream = Upstream::raw(async |mut stream: TcpStream, _| {
        let mut all = Vec::new();
        stream.read_to_end(&mut all).await.ok();
    })
    .await;
    let proxy = proxy(&upstream, |limits| {
        limits.client_idle_timeout = Duration::from_millis(300)
    })
    .await;
    let head = format!("POST /api/x HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 100\r\n\r\npart");
    let answer = raw(proxy.address, head).await;
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
}

#[tokio::test]
async fn a_client_that_does_not_read_is_given_up() {
    let upstream = Upstream::raw(async |mut stream: TcpStream, _| {
        read_head(&mut stream).await;
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            .await
            .unwrap();
        let chunk = format!("{:x}\r\n{}\r\n", 65536, "a".repeat(65536));
        while stream.write_all(chunk.as_bytes()).await.is_ok() {}
    })
    .await;
    let proxy = proxy(&upstream, |limits| {
        limits.client_idle_timeout = Duration::from_millis(300)
    })
    .await;
    let mut stream = TcpStream::connect(proxy.address).await.unwrap();
    let sent = format!("GET /api/x HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
    stream.write_all(sent.as_bytes()).await.unwrap();
    let connections = async || {
        let metrics = support::get_from(proxy.admin.unwrap(), "localhost", "/metrics").await;
        metrics
            .text()
            .lines()
            .any(|line| line == "openflow_proxy_connections 0")
    };
    support::eventually(connections).await;
}

#[tokio::test]
async fn connections_are_bounded_in_all_and_by_address() {
    let upstream = Upstream::echo().await;
    for all in [true, false] {
        let proxy = proxy(&upstream, |limits| match all {
            true => limits.max_connections = 2,
            false => limits.max_connections_per_address = 2,
        })
        .await;
        let sent = format!("GET /api/x HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
        let mut open = Vec::new();
        for _ in 0..2 {
            let mut stream = TcpStream::connect(proxy.address).await.unwrap();
            stream.write_all(sent.as_bytes()).await.unwrap();
            read_head(&mut stream).await;
            open.push(stream);
        }
        assert_eq!(raw(proxy.address, &sent).await, "", "a third is closed");
        open.clear();
        let close = format!("GET /api/x HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n");
        support::eventually(async || raw(proxy.address, &close).await.starts_with("HTTP/1.1 200"))
            .await;
    }
}

#[tokio::test]
async fn an_unwanted_body_does_not_lose_the_answer() {
    let upstream = Upstream::echo().await;
    let proxy = proxy(&upstream, |_| ()).await;
    let body = "a".repeat(200 * 1024);
    let length = body.len();
    let sent = format!(
        "POST / HTTP/1.1\r\nHost: nobody.example.com\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    let answer = raw(proxy.address, sent).await;
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
}
