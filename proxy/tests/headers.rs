//! What instances and callers see of each other's headers.
#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

mod support;

use http::Response;
use http_body_util::Full;
use support::{HOST, TestProxy, Upstream, get_from, request, route, table};

#[tokio::test]
async fn forwarded_headers_are_ours_and_internal_ones_are_stripped() {
    let upstream = Upstream::echo().await;
    let proxy = TestProxy::fixed(table(vec![route(upstream.address)])).await;
    let mut sent = request("GET", HOST, "/api/x");
    for (name, value) in [
        ("x-forwarded-for", "6.6.6.6"),
        ("x_forwarded_for", "6.6.6.6"),
        ("X-Forwarded-Proto", "https"),
        ("x-forwarded-host", "evil"),
        ("x-forwarded-prefix", "/evil"),
        ("forwarded", "for=6.6.6.6"),
        ("x-real-ip", "6.6.6.6"),
        ("x-openflow-identity", "forged"),
        ("X_Openflow_Identity", "forged"),
        ("x-openflow_session", "forged"),
        (
            "connection",
            "keep-alive, x-listed, x-forwarded-for, x-request-id",
        ),
        ("x-listed", "hop"),
        ("keep-alive", "timeout=9"),
        ("proxy-authorization", "Basic x"),
        ("te", "trailers"),
        ("x-api_key", "kept"),
    ] {
        sent = sent.header(name, value);
    }
    proxy.send(sent.body(Full::default()).unwrap()).await;
    let seen = upstream.last();
    assert_eq!(seen.header("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(seen.header("x-forwarded-proto"), Some("http"));
    assert_eq!(seen.header("x-forwarded-host"), Some(HOST));
    assert_eq!(seen.header("x-api_key"), Some("kept"));
    assert!(seen.header("x-request-id").is_some_and(|id| id.len() == 16));
    let mut names: Vec<_> = seen.headers.keys().map(|name| name.as_str()).collect();
    names.sort();
    let expected = [
        "host",
        "x-api_key",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-proto",
        "x-request-id",
    ];
    assert_eq!(names, expected);
}

#[tokio::test]
async fn a_trusted_proxy_in_front_is_believed() {
    let upstream = Upstream::echo().await;
    let proxy = TestProxy::fixed_with(table(vec![route(upstream.address)]), |config| {
        config.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    })
    .await;
    let sent = request("GET", HOST, "/api/x")
        .header("x-forwarded-for", "1.2.3.4")
        .header("x-forwarded-proto", "https")
        .header("x-forwarded-host", "public.example.com")
        .header("x-request-id", "edge-7")
        .header("x-openflow-identity", "forged");
    proxy.send(sent.body(Full::default()).unwrap()).await;
    let seen = upstream.last();
    assert_eq!(seen.header("x-forwarded-for"), Some("1.2.3.4, 127.0.0.1"));
    assert_eq!(seen.header("x-forwarded-proto"), Some("https"));
    assert_eq!(seen.header("x-forwarded-host"), Some("public.example.com"));
    assert_eq!(seen.header("x-request-id"), Some("edge-7"));
    assert_eq!(seen.header("x-openflow-identity"), None);
}

#[tokio::test]
async fn an_instance_cannot_set_parent_or_openflow_cookies_or_our_headers() {
    let upstream = Upstream::answering(|_| {
        Response::builder()
            .header("set-cookie", "a=1; Domain=example.com; Path=/")
            .header("set-cookie", "openflow_token=planted; Path=/")
            .header("set-cookie", "b=2; HttpOnly")
            .header("x-openflow-anything", "x")
            .header("connection", "x-hop")
            .header("x-hop", "1")
            .header("keep-alive", "timeout=5")
            .header("x-kept", "1")
            .body(Full::default())
            .unwrap()
    })
    .await;
    let proxy = TestProxy::fixed(table(vec![route(upstream.address)])).await;
    let reply = proxy.get(HOST, "/api/x").await;
    let cookies: Vec<_> = reply.headers.get_all("set-cookie").iter().collect();
    assert_eq!(cookies, ["a=1; Path=/", "b=2; HttpOnly"]);
    for gone in ["x-openflow-anything", "x-hop", "keep-alive", "connection"] {
        assert_eq!(reply.header(gone), None, "{gone}");
    }
    assert_eq!(reply.header("x-kept"), Some("1"));
}

#[tokio::test]
async fn the_dashboard_keeps_its_cookies_but_no_internal_path() {
    let upstream = Upstream::answering(|seen| {
        Response::builder()
            .header("set-cookie", "__Host-openflow=1; Path=/; Secure")
            .body(Full::from(seen.path.clone()))
            .unwrap()
    })
    .await;
    let mut table = table(vec![]);
    table.dashboard = Some(upstream.address);
    let proxy = TestProxy::fixed(table).await;
    let sent = request("GET", "EXAMPLE.com:80", "/api/v1/me")
        .header("cookie", "__Host-openflow=1; openflow_x=2")
        .header("authorization", "Bearer ofp_1")
        .header("x-openflow-proxy-secret", "guess");
    let reply = proxy.send(sent.body(Full::default()).unwrap()).await;
    assert_eq!(reply.text(), "/api/v1/me");
    assert_eq!(
        reply.header("set-cookie"),
        Some("__Host-openflow=1; Path=/; Secure")
    );
    let seen = upstream.last();
    assert_eq!(seen.header("host"), Some("example.com:80"));
    assert_eq!(
        seen.header("cookie"),
        Some("__Host-openflow=1; openflow_x=2")
    );
    assert_eq!(seen.header("authorization"), Some("Bearer ofp_1"));
    assert_eq!(seen.header("x-openflow-proxy-secret"), None);
    for path in [
        "/internal/v1/routes",
        "/INTERNAL/v1/redeem",
        "//internal/x",
        "/%69nternal/x",
    ] {
        assert_eq!(proxy.get("example.com", path).await.status, 404, "{path}");
    }
    assert_eq!(upstream.seen().len(), 1);
}

#[tokio::test]
async fn pages_for_browsers_and_problems_for_programs() {
    let proxy = TestProxy::fixed(table(vec![])).await;
    let reply = proxy.get("nobody.example.com", "/").await;
    assert_eq!(
        (reply.status.as_u16(), reply.header("content-type")),
        (404, Some("application/problem+json"))
    );
    let problem: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!(
        (&problem["status"], &problem["type"]),
        (&404.into(), &"about:blank".into())
    );
    assert!(problem["requestId"].is_string());
    let sent = request("GET", "nobody.example.com", "/").header("accept", "text/html,*/*;q=0.8");
    let page = proxy.send(sent.body(Full::default()).unwrap()).await;
    assert_eq!(page.status, 404);
    assert!(page.text().starts_with("<!doctype html>"));
    assert!(
        page.header("content-security-policy")
            .unwrap()
            .starts_with("default-src 'none'")
    );
    assert_eq!(page.header("cache-control"), Some("no-store"));
}

#[tokio::test]
async fn the_admin_listener_tells_readiness_and_counts() {
    let upstream = Upstream::echo().await;
    let proxy = TestProxy::fixed(table(vec![route(upstream.address)])).await;
    proxy.get(HOST, "/api/x").await;
    proxy.get("nobody.example.com", "/").await;
    let admin = proxy.admin.unwrap();
    assert_eq!(get_from(admin, "localhost", "/ready").await.status, 200);
    openflow_proxy::check(admin).await.unwrap();
    openflow_proxy::check("127.0.0.1:9".parse().unwrap())
        .await
        .unwrap_err();
    let metrics = get_from(admin, "localhost", "/metrics").await;
    for line in [
        "openflow_proxy_requests_total{class=\"webhook\",status=\"2xx\"} 1",
        "openflow_proxy_requests_total{class=\"other\",status=\"4xx\"} 1",
        "openflow_proxy_response_head_seconds_count 2",
    ] {
        assert!(
            metrics.text().lines().any(|each| each == line),
            "{line}\n{}",
            metrics.text()
        );
    }
}
