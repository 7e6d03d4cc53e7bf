//! Webhooks in their short form: a 404 outside `/api` is tried under `/api`.
#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

mod support;

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::Full;
use openflow_route_api::{Engine, Route, WebhookAccess};
use sha2::{Digest as _, Sha256};
use support::{HOST, TestProxy, Upstream, read_head, request, route, table};
use tokio::{io::AsyncWriteExt as _, net::TcpStream};

fn post(path: &str, body: impl Into<Bytes>) -> http::Request<Full<Bytes>> {
    request("POST", HOST, path)
        .body(Full::new(body.into()))
        .unwrap()
}

fn paths(upstream: &Upstream) -> Vec<String> {
    upstream.seen().into_iter().map(|seen| seen.path).collect()
}

#[tokio::test]
async fn a_404_outside_api_is_tried_once_under_api_with_method_headers_and_body() {
    let upstream = Upstream::node_red().await;
    let proxy = TestProxy::fixed(table(vec![route(upstream.address)])).await;
    let reply = proxy.send(post("/hook?x=1", "hello")).await;
    assert_eq!((reply.status, reply.text()), (StatusCode::OK, "hello"));
    assert_eq!(paths(&upstream), ["/hook?x=1", "/api/hook?x=1"]);
    assert_eq!(upstream.last().method, "POST");
    assert_eq!(upstream.connections(), 1, "the 404 was read to its end");
}

#[tokio::test]
async fn a_404_under_api_is_final_in_any_case() {
    let upstream = Upstream::node_red().await;
    let proxy = TestProxy::fixed(table(vec![route(upstream.address)])).await;
    for path in ["/api/nothing", "/API/nothing", "/api"] {
        let reply = proxy.send(post(path, "x")).await;
        assert_eq!(
            (reply.status, reply.text()),
            (StatusCode::NOT_FOUND, "Cannot find it")
        );
    }
    assert_eq!(upstream.seen().len(), 3);
    let reply = proxy.get(HOST, "/nothing").await;
    assert_eq!(
        (reply.status, reply.text()),
        (StatusCode::NOT_FOUND, "Cannot find it")
    );
    assert_eq!(upstream.seen().len(), 5);
}

#[tokio::test]
async fn other_answers_and_other_engines_are_not_tried_again() {
    let upstream = Upstream::answering(|seen| {
        let status = if seen.path == "/gone" { 410 } else { 404 };
        Response::builder()
            .status(status)
            .body(Full::default())
            .unwrap()
    })
    .await;
    let n8n = Route {
        engine: Engine::N8n,
        hosts: vec!["n8n.example.com".to_owned()],
        instance_id: uuid::Uuid::from_u128(9),
        ..route(upstream.address)
    };
    let proxy = TestProxy::fixed(table(vec![route(upstream.address), n8n])).await;
    assert_eq!(proxy.get(HOST, "/gone").await.status, StatusCode::GONE);
    assert_eq!(
        proxy.get("n8n.example.com", "/hook").await.status,
        StatusCode::NOT_FOUND
    );
    assert_eq!(paths(&upstream), ["/gone", "/hook"]);
}

#[tokio::test]
async fn a_body_up_to_the_bound_is_sent_again_and_a_larger_one_stays_a_404() {
    let upstream = Upstream::node_red().await;
    let proxy = TestProxy::fixed(table(vec![route(upstream.address)])).await;
    let fits = Bytes::from(vec![b'a'; 1024 * 1024]);
    let reply = proxy.send(post("/hook", fits.clone())).await;
    assert!(reply.status == StatusCode::OK && reply.body == fits);
    let reply = proxy.send(post("/hook", vec![b'a'; 1024 * 1024 + 1])).await;
    assert_eq!(
        (reply.status, reply.text()),
        (StatusCode::NOT_FOUND, "Cannot find it")
    );
}

#[tokio::test]
async fn a_404_that_comes_before_the_body_was_sent_does_not_lose_the_body() {
    let upstream = Upstream::raw(async |mut stream: TcpStream, number| {
        let (_, mut body) = read_head(&mut stream).await;
        if number == 0 {
            stream
                .write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
                .await
                .unwrap();
            return std::future::pending().await;
        }
        while body.len() < 10 {
            tokio::io::AsyncReadExt::read_buf(&mut stream, &mut body)
                .await
                .unwrap();
        }
        let answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{}",
            String::from_utf8_lossy(&body)
        );
        stream.write_all(answer.as_bytes()).await.unwrap();
    })
    .await;
    let proxy = TestProxy::fixed(table(vec![route(upstream.address)])).await;
    let mut stream = TcpStream::connect(proxy.address).await.unwrap();
    let head = format!("POST /hook HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 10\r\n\r\nhello");
    stream.write_all(head.as_bytes()).await.unwrap();
    support::eventually(async || upstream.connections() == 2).await;
    stream.write_all(b"world").await.unwrap();
    let (head, mut body) = read_head(&mut stream).await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    while body.len() < 10 {
        tokio::io::AsyncReadExt::read_buf(&mut stream, &mut body)
            .await
            .unwrap();
    }
    assert_eq!(body, b"helloworld");
}

#[tokio::test]
async fn webhook_credentials_are_asked_for_in_both_forms_and_kept_from_the_flow() {
    let hash = Sha256::digest("key")
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let upstream = Upstream::node_red().await;
    let bearer = Route {
        webhook_access: WebhookAccess::Bearer,
        webhook_secret_hash: Some(hash),
        ..route(upstream.address)
    };
    let proxy = TestProxy::fixed(table(vec![bearer])).await;
    for path in ["/api/hook", "/hook"] {
        let reply = proxy.send(post(path, "x")).await;
        assert_eq!(reply.status, StatusCode::UNAUTHORIZED, "{path}");
        assert!(
            reply
                .header("www-authenticate")
                .unwrap()
                .starts_with("Bearer")
        );
        let authorised = request("POST", HOST, path)
            .header("authorization", "Bearer key")
            .body(Full::from("x"))
            .unwrap();
        assert_eq!(
            proxy.send(authorised).await.status,
            StatusCode::OK,
            "{path}"
        );
        assert_eq!(upstream.last().header("authorization"), None);
    }
}
