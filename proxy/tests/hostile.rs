//! Heads that other servers read differently.
#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

mod support;

use support::{HOST, TestProxy, Upstream, raw, route, table};

async fn status_of(proxy: &TestProxy, head: &str) -> u16 {
    let answer = raw(proxy.address, head).await;
    let status = answer
        .split(' ')
        .nth(1)
        .unwrap_or_else(|| panic!("no answer to {head:?}: {answer:?}"));
    status.parse().unwrap()
}

#[tokio::test]
async fn ambiguous_heads_are_refused_and_reach_no_instance() {
    let upstream = Upstream::echo().await;
    let proxy = TestProxy::fixed(table(vec![route(upstream.address)])).await;
    let end = "Connection: close\r\n\r\n";
    let host = format!("Host: {HOST}\r\n");
    for head in [
        format!("GET /api/x HTTP/1.1\r\n{end}"),
        format!("GET /api/x HTTP/1.1\r\nHost:\r\n{end}"),
        format!("GET /api/x HTTP/1.1\r\n{host}{host}{end}"),
        format!("GET /api/x HTTP/1.1\r\nHost: {HOST}, other.example.com\r\n{end}"),
        format!("GET /api/x HTTP/1.1\r\nHost: user@{HOST}\r\n{end}"),
        format!("GET /api/x HTTP/1.1\r\nHost: {HOST}/x\r\n{end}"),
        format!("GET /api/x HTTP/1.1\r\nHost: {HOST}:99999\r\n{end}"),
        format!("GET http://other.example.com/api/x HTTP/1.1\r\n{host}{end}"),
        format!("GET ftp://{HOST}/api/x HTTP/1.1\r\n{host}{end}"),
        format!("CONNECT {HOST}:80 HTTP/1.1\r\n{host}{end}"),
        format!("GET * HTTP/1.1\r\n{host}{end}"),
        format!("OPTIONS * HTTP/1.1\r\n{host}{end}"),
        format!("GET /api/../x HTTP/1.1\r\n{host}{end}"),
        format!("GET /api/%2e%2E/x HTTP/1.1\r\n{host}{end}"),
        format!("GET /api/..;/x HTTP/1.1\r\n{host}{end}"),
        format!("GET /api\\..\\x HTTP/1.1\r\n{host}{end}"),
        format!("GET /api/%00 HTTP/1.1\r\n{host}{end}"),
        format!(
            "POST /api/x HTTP/1.1\r\n{host}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n{end}0\r\n\r\n"
        ),
        format!("POST /api/x HTTP/1.1\r\n{host}Transfer-Encoding: gzip, chunked\r\n{end}0\r\n\r\n"),
        format!("POST /api/x HTTP/1.1\r\n{host}Transfer-Encoding: gzip\r\n{end}0\r\n\r\n"),
        format!("POST /api/x HTTP/1.1\r\n{host}Content-Length: 1\r\nContent-Length: 2\r\n{end}ab"),
        format!("POST /api/x HTTP/1.1\r\n{host}Content-Length: +1\r\n{end}a"),
        format!("POST /api/x HTTP/1.0\r\n{host}Transfer-Encoding: chunked\r\n{end}0\r\n\r\n"),
        format!("GET /api/x HTTP/1.1\r\n{host}Bad Name: 1\r\n{end}"),
        format!("GET /api/x HTTP/1.1\r\n{host} folded: 1\r\n{end}"),
    ] {
        assert_eq!(status_of(&proxy, &head).await, 400, "{head:?}");
    }
    assert_eq!(upstream.seen().len(), 0);
}

#[tokio::test]
async fn a_length_beside_chunks_smuggles_nothing() {
    let upstream = Upstream::echo().await;
    let proxy = TestProxy::fixed(table(vec![route(upstream.address)])).await;
    let smuggled = format!("GET /api/smuggled HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
    for order in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
    ] {
        let head =
            format!("POST /api/x HTTP/1.1\r\nHost: {HOST}\r\n{order}\r\n0\r\n\r\n{smuggled}");
        let answer = raw(proxy.address, head).await;
        assert_eq!(
            answer.matches("HTTP/1.1").count(),
            1,
            "the connection is closed after it: {answer}"
        );
    }
    for seen in upstream.seen() {
        assert_eq!(
            (seen.path.as_str(), seen.header("content-length")),
            ("/api/x", None)
        );
    }
}

#[tokio::test]
async fn absolute_form_and_odd_but_legal_heads_are_normalised() {
    let upstream = Upstream::echo().await;
    let proxy = TestProxy::fixed(table(vec![route(upstream.address)])).await;
    let absolute =
        format!("GET http://{HOST}/api/x?y HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n");
    assert_eq!(status_of(&proxy, &absolute).await, 200);
    assert_eq!(upstream.last().path, "/api/x?y");
    let http10 = format!("GET /api/old HTTP/1.0\r\nHost: {HOST}\r\n\r\n");
    assert_eq!(status_of(&proxy, &http10).await, 200);
    let h2c = format!(
        "GET /api/h2c HTTP/1.1\r\nHost: {HOST}\r\nConnection: close, Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\
         HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n\r\n"
    );
    assert_eq!(status_of(&proxy, &h2c).await, 200);
    let seen = upstream.last();
    assert_eq!(
        (seen.header("upgrade"), seen.header("http2-settings")),
        (None, None)
    );
}

#[tokio::test]
async fn trailers_cannot_carry_our_headers() {
    let upstream = Upstream::raw(async |mut stream: tokio::net::TcpStream, _| {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let (_, mut body) = support::read_head(&mut stream).await;
        while !body.ends_with(b"\r\n\r\n") {
            stream.read_buf(&mut body).await.unwrap();
        }
        let answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            body.len()
        );
        stream.write_all(answer.as_bytes()).await.unwrap();
        stream.write_all(&body).await.unwrap();
    })
    .await;
    let proxy = TestProxy::fixed(table(vec![route(upstream.address)])).await;
    let sent = format!(
        "POST /api/x HTTP/1.1\r\nHost: {HOST}\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\nConnection: close\r\n\r\n\
         2\r\nhi\r\n0\r\nX-Sum: 1\r\nX-Forwarded-For: 6.6.6.6\r\nX-Openflow-Identity: forged\r\nContent-Length: 9\r\n\r\n"
    );
    let answer = raw(proxy.address, sent).await.to_lowercase();
    assert!(answer.contains("2\r\nhi\r\n0\r\n"), "{answer}");
    for name in ["x-forwarded-for", "x-openflow", "content-length: 9"] {
        assert!(!answer.contains(name), "{name}: {answer}");
    }
}
