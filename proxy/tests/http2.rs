//! HTTP/2 with prior knowledge in, HTTP/1.1 out.
#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

mod support;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::Full;
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use support::{
    ADA, FakeManager, HOST, TestProxy, Upstream, cookie, reply, route, signed_route, table,
};
use tokio::net::TcpStream;
use uuid::Uuid;

type Sender = SendRequest<Full<Bytes>>;

async fn connect(proxy: &TestProxy) -> Sender {
    let stream = TcpStream::connect(proxy.address).await.unwrap();
    let connected =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
    let (sender, connection) = connected.unwrap();
    tokio::spawn(connection);
    sender
}

fn request(method: &str, path: &str) -> http::request::Builder {
    Request::builder()
        .method(method)
        .uri(format!("http://{HOST}:8080{path}"))
}

#[tokio::test]
async fn requests_share_a_connection_and_reach_the_instance() {
    let upstream =
        Upstream::answering(|seen| http::Response::new(Full::from(seen.body.clone()))).await;
    let proxy = TestProxy::fixed(table(vec![route(upstream.address)])).await;
    let mut sender = connect(&proxy).await;
    let requests = (0..50).map(|number| {
        let sent = request("POST", "/api/x?y=1")
            .body(Full::from(format!("body {number}")))
            .unwrap();
        let answer = sender.send_request(sent);
        async move { (number, reply(answer.await.unwrap()).await) }
    });
    for (number, reply) in futures_util::future::join_all(requests).await {
        assert_eq!(
            (reply.status, reply.text()),
            (StatusCode::OK, format!("body {number}").as_str())
        );
    }
    let seen = upstream.last();
    assert_eq!(seen.path, "/api/x?y=1");
    assert_eq!(seen.header("host"), Some("wf1.example.com:8080"));
    assert_eq!(
        seen.header("x-forwarded-host"),
        Some("wf1.example.com:8080")
    );
}

#[tokio::test]
async fn cookies_in_pieces_sign_in_and_reach_the_instance_as_one() {
    let upstream = Upstream::node_red().await;
    let manager = FakeManager::with(vec![signed_route(upstream.address)]).await;
    let proxy = TestProxy::following(&manager).await;
    let mut sender = connect(&proxy).await;
    let sent = request("GET", "/")
        .header("cookie", "a=1")
        .header("cookie", cookie(ADA, Uuid::new_v4()))
        .header("cookie", "b=2")
        .body(Full::default())
        .unwrap();
    assert_eq!(
        reply(sender.send_request(sent).await.unwrap()).await.text(),
        "editor"
    );
    assert_eq!(upstream.last().header("cookie"), Some("a=1; b=2"));
}

#[tokio::test]
async fn a_host_header_that_differs_from_the_authority_is_refused() {
    let upstream = Upstream::echo().await;
    let proxy = TestProxy::fixed(table(vec![route(upstream.address)])).await;
    let mut sender = connect(&proxy).await;
    let sent = request("GET", "/api/x")
        .header("host", "shop.example.com")
        .body(Full::default())
        .unwrap();
    assert_eq!(
        sender.send_request(sent).await.unwrap().status(),
        StatusCode::BAD_REQUEST
    );
    let connect = Request::builder()
        .method("CONNECT")
        .uri(format!("{HOST}:80"))
        .body(Full::default())
        .unwrap();
    let refused = sender.send_request(connect).await;
    assert!(refused.is_ok_and(|reply| reply.status() == StatusCode::BAD_REQUEST));
    assert_eq!(upstream.seen().len(), 0);
}

#[tokio::test]
async fn the_short_form_of_a_webhook_works_with_a_body() {
    let upstream = Upstream::node_red().await;
    let proxy = TestProxy::fixed(table(vec![route(upstream.address)])).await;
    let mut sender = connect(&proxy).await;
    let sent = request("POST", "/hook").body(Full::from("hello")).unwrap();
    assert_eq!(
        reply(sender.send_request(sent).await.unwrap()).await.text(),
        "hello"
    );
}

#[tokio::test]
async fn large_bodies_flow_both_ways() {
    let upstream =
        Upstream::answering(|seen| http::Response::new(Full::from(seen.body.clone()))).await;
    let proxy = TestProxy::fixed(table(vec![route(upstream.address)])).await;
    let mut sender = connect(&proxy).await;
    let body: Bytes = (0..5_000_000_u32).map(|byte| byte as u8).collect();
    let sent = request("POST", "/api/big")
        .body(Full::from(body.clone()))
        .unwrap();
    let reply = reply(sender.send_request(sent).await.unwrap()).await;
    assert!(reply.body == body);
}
