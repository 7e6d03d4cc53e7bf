//! HTTP/1.1 in and out.
#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

mod support;

use std::sync::Arc;

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::Full;
use support::{HOST, TestProxy, Upstream, read_head, request, route, table};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::Notify,
};

#[tokio::test]
async fn a_request_and_its_answer_pass_through() {
    let upstream = Upstream::answering(|seen| {
        Response::builder()
            .status(201)
            .header("x-answer", "yes")
            .body(Full::from(seen.body.clone()))
            .unwrap()
    })
    .await;
    let proxy = TestProxy::fixed(table(vec![route(upstream.address)])).await;
    let sent = request("PUT", "WF1.example.com.:8080", "/api/a%2Fb?x=1&y=%20")
        .header("x-api-key", "k")
        .body(Full::from("hello"))
        .unwrap();
    let reply = proxy.send(sent).await;
    assert_eq!(reply.status, StatusCode::CREATED);
    assert_eq!(
        (reply.header("x-answer"), reply.text()),
        (Some("yes"), "hello")
    );
    let seen = upstream.last();
    assert_eq!(seen.path, "/api/a%2Fb?x=1&y=%20");
    assert_eq!(seen.header("host"), Some("wf1.example.com:8080"));
    assert_eq!(seen.header("x-api-key"), Some("k"));
    assert_eq!(seen.header("content-length"), Some("5"));
}

#[tokio::test]
async fn upstream_connections_are_used_again() {
    let upstream = Upstream::echo().await;
    let proxy = TestProxy::fixed(table(vec![route(upstream.address)])).await;
    for number in 0..5 {
        let path = format!("/api/{number}");
        assert_eq!(proxy.get(HOST, &path).await.text(), path);
    }
    assert_eq!(upstream.connections(), 1);
    assert_eq!(upstream.seen().len(), 5);
}

#[tokio::test]
async fn large_bodies_stream_both_ways() {
    let upstream = Upstream::answering(|seen| Response::new(Full::from(seen.body.clone()))).await;
    let proxy = TestProxy::fixed(table(vec![route(upstream.address)])).await;
    let body: Bytes = (0..9_000_000_u32).map(|byte| byte as u8).collect();
    let sent = request("POST", HOST, "/api/big")
        .body(Full::from(body.clone()))
        .unwrap();
    let reply = proxy.send(sent).await;
    assert!(reply.body == body, "{} bytes came back", reply.body.len());
}

#[tokio::test]
async fn chunked_bodies_and_answers_pass() {
    let upstream = Upstream::raw(async |mut stream: TcpStream, _| {
        let (head, mut rest) = read_head(&mut stream).await;
        assert!(head.contains("transfer-encoding: chunked"), "{head}");
        while !rest.ends_with(b"0\r\n\r\n") {
            stream.read_buf(&mut rest).await.unwrap();
        }
        assert_eq!(rest, b"5\r\nhello\r\n0\r\n\r\n");
        let answer =
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
        stream.write_all(answer.as_bytes()).await.unwrap();
    })
    .await;
    let proxy = TestProxy::fixed(table(vec![route(upstream.address)])).await;
    let answer = support::raw(
        proxy.address,
        format!(
            "POST /api/x HTTP/1.1\r\nHost: {HOST}\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n\
             5\r\nhello\r\n0\r\n\r\n"
        ),
    )
    .await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(
        answer.ends_with("0\r\n\r\n") && answer.contains("abc") && answer.contains("de"),
        "{answer}"
    );
}

#[tokio::test]
async fn an_answer_streams_before_it_is_complete() {
    let upstream = Upstream::raw(async |mut stream: TcpStream, _| {
        read_head(&mut stream).await;
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
        stream.write_all(format!("{head}6\r\ndata:1\r\n").as_bytes()).await.unwrap();
        std::future::pending::<()>().await;
    })
    .await;
    let proxy = TestProxy::fixed(table(vec![route(upstream.address)])).await;
    let mut stream = TcpStream::connect(proxy.address).await.unwrap();
    let sent = format!("GET /api/events HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
    stream.write_all(sent.as_bytes()).await.unwrap();
    let (_, mut rest) = read_head(&mut stream).await;
    while !String::from_utf8_lossy(&rest).contains("data:1") {
        assert_ne!(stream.read_buf(&mut rest).await.unwrap(), 0);
    }
}

#[tokio::test]
async fn an_early_answer_comes_through_while_the_upload_goes_on() {
    let upstream = Upstream::raw(async |mut stream: TcpStream, _| {
        read_head(&mut stream).await;
        stream
            .write_all(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig")
            .await
            .unwrap();
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.ok();
    })
    .await;
    let proxy = TestProxy::fixed(table(vec![route(upstream.address)])).await;
    let mut stream = TcpStream::connect(proxy.address).await.unwrap();
    let head =
        format!("POST /api/x HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 1000000\r\n\r\nbegun");
    stream.write_all(head.as_bytes()).await.unwrap();
    let (head, _) = read_head(&mut stream).await;
    assert!(head.starts_with("HTTP/1.1 413"), "{head}");
}

#[tokio::test]
async fn a_head_request_has_a_length_and_no_body() {
    let upstream = Upstream::echo().await;
    let proxy = TestProxy::fixed(table(vec![route(upstream.address)])).await;
    let sent = request("HEAD", HOST, "/api/abc")
        .body(Full::default())
        .unwrap();
    let reply = proxy.send(sent).await;
    assert_eq!(reply.header("content-length"), Some("8"));
    assert!(reply.body.is_empty());
    assert_eq!(proxy.get(HOST, "/api/abc").await.text(), "/api/abc");
    assert_eq!(upstream.connections(), 1);
}

#[tokio::test]
async fn interim_answers_are_skipped_and_unasked_switches_refused() {
    let upstream = Upstream::raw(async |mut stream: TcpStream, number| {
        read_head(&mut stream).await;
        let answer = match number {
            0 => "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
            _ => "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
        };
        stream.write_all(answer.as_bytes()).await.unwrap();
    })
    .await;
    let proxy = TestProxy::fixed(table(vec![route(upstream.address)])).await;
    assert_eq!(proxy.get(HOST, "/api/x").await.text(), "ok");
    assert_eq!(
        proxy.get(HOST, "/api/x").await.status,
        StatusCode::BAD_GATEWAY
    );
}

/// Answers one request per connection and then does what `after` says.
async fn dying(after: fn(usize) -> bool) -> Upstream {
    Upstream::raw(move |mut stream: TcpStream, number| async move {
        loop {
            read_head(&mut stream).await;
            if after(number) {
                return; // closes without an answer
            }
            stream
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                .await
                .unwrap();
            if number == 0 {
                read_head(&mut stream).await;
                return;
            }
        }
    })
    .await
}

#[tokio::test]
async fn a_dead_pooled_connection_is_replaced_once_for_idempotent_requests() {
    let upstream = dying(|_| false).await;
    let proxy = TestProxy::fixed(table(vec![route(upstream.address)])).await;
    assert_eq!(proxy.get(HOST, "/api/1").await.status, StatusCode::OK);
    assert_eq!(proxy.get(HOST, "/api/2").await.status, StatusCode::OK);
    assert_eq!(upstream.connections(), 2);
}

#[tokio::test]
async fn a_post_that_may_have_been_acted_upon_is_not_repeated() {
    let upstream = dying(|_| false).await;
    let proxy = TestProxy::fixed(table(vec![route(upstream.address)])).await;
    assert_eq!(proxy.get(HOST, "/api/1").await.status, StatusCode::OK);
    let post = request("POST", HOST, "/api/2")
        .body(Full::default())
        .unwrap();
    assert_eq!(proxy.send(post).await.status, StatusCode::BAD_GATEWAY);
    assert_eq!(upstream.connections(), 1);
}

#[tokio::test]
async fn a_fresh_connection_that_dies_is_an_error_at_once() {
    let upstream = dying(|_| true).await;
    let proxy = TestProxy::fixed(table(vec![route(upstream.address)])).await;
    assert_eq!(
        proxy.get(HOST, "/api/1").await.status,
        StatusCode::BAD_GATEWAY
    );
    assert_eq!(upstream.connections(), 1);
}

#[tokio::test]
async fn a_connection_of_a_cancelled_request_is_not_used_again() {
    let upstream = Upstream::raw(async |mut stream: TcpStream, number| {
        read_head(&mut stream).await;
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello{number}");
        stream.write_all(answer.as_bytes()).await.unwrap();
        if number == 0 {
            stream.read_u8().await.unwrap_err(); // the proxy closes it
        } else {
            stream.write_all(b"abcd").await.unwrap();
        }
    })
    .await;
    let proxy = TestProxy::fixed(table(vec![route(upstream.address)])).await;
    let mut stream = TcpStream::connect(proxy.address).await.unwrap();
    let sent = format!("GET /api/x HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
    stream.write_all(sent.as_bytes()).await.unwrap();
    read_head(&mut stream).await;
    drop(stream);
    assert_eq!(proxy.get(HOST, "/api/x").await.text(), "hello1abcd");
}

#[tokio::test]
async fn nobody_listening_is_a_502_and_a_cut_answer_a_cut_connection() {
    let upstream = Upstream::echo().await;
    let address = upstream.address;
    drop(upstream);
    let proxy = TestProxy::fixed(table(vec![route(address)])).await;
    support::eventually(async || proxy.get(HOST, "/api/x").await.status == StatusCode::BAD_GATEWAY)
        .await;

    let arrived = Arc::new(Notify::new());
    let cut = Arc::clone(&arrived);
    let upstream = Upstream::raw(move |mut stream: TcpStream, _| {
        let cut = Arc::clone(&cut);
        async move {
            read_head(&mut stream).await;
            stream
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart")
                .await
                .unwrap();
            cut.notified().await;
        }
    })
    .await;
    let proxy = TestProxy::fixed(table(vec![route(upstream.address)])).await;
    let mut stream = TcpStream::connect(proxy.address).await.unwrap();
    let sent = format!("GET /api/x HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
    stream.write_all(sent.as_bytes()).await.unwrap();
    let (_, mut body) = read_head(&mut stream).await;
    arrived.notify_one();
    stream.read_to_end(&mut body).await.ok();
    assert_eq!(body, b"part");
}

#[tokio::test]
async fn a_silent_upstream_is_a_504() {
    let upstream = Upstream::raw(async |_stream, _| std::future::pending().await).await;
    let proxy = TestProxy::fixed_with(table(vec![route(upstream.address)]), |config| {
        config.limits.response_timeout = std::time::Duration::from_millis(200);
    })
    .await;
    assert_eq!(
        proxy.get(HOST, "/api/x").await.status,
        StatusCode::GATEWAY_TIMEOUT
    );
}
