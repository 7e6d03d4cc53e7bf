//! Where the table comes from, and what the proxy says when it does not forward.
#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

mod support;

use std::os::unix::fs::PermissionsExt as _;

use http::StatusCode;
use openflow_proxy::{Proxy, Secret, check};
use openflow_route_api::{Route, RouteState};
use support::{
    FakeManager, HOST, TestProxy, Upstream, config, eventually, get_from, loopback, route, table,
};

#[tokio::test]
async fn changes_of_the_feed_are_served_and_errors_keep_the_last_table() {
    let (first, second) = (Upstream::echo().await, Upstream::echo().await);
    let manager = FakeManager::with(vec![route(first.address)]).await;
    let proxy = TestProxy::following(&manager).await;
    assert_eq!(proxy.get(HOST, "/api/1").await.status, StatusCode::OK);
    manager.change(|table| table.routes[0].upstream = Some(second.address));
    eventually(async || {
        proxy.get(HOST, "/api/2").await;
        !second.seen().is_empty()
    })
    .await;
    manager.change(|table| table.version = 99);
    drop(manager);
    assert_eq!(proxy.get(HOST, "/api/3").await.status, StatusCode::OK);
    assert_eq!(second.last().path, "/api/3");
}

#[tokio::test]
async fn without_any_table_the_proxy_asks_to_wait() {
    let mut config = config();
    config.manager = format!("http://{}", loopback())
        .replace(":0", ":9")
        .parse()
        .unwrap();
    let proxy = TestProxy::start(config, tempfile::tempdir().unwrap()).await;
    let reply = proxy.get(HOST, "/").await;
    assert_eq!(
        (reply.status, reply.header("retry-after")),
        (StatusCode::SERVICE_UNAVAILABLE, Some("1"))
    );
    let ready = get_from(proxy.admin.unwrap(), "localhost", "/ready").await;
    assert_eq!(ready.status, StatusCode::SERVICE_UNAVAILABLE);
    let error = check(proxy.admin.unwrap()).await.unwrap_err();
    assert!(error.to_string().contains("no routes yet"), "{error}");
}

#[tokio::test]
async fn a_wrong_secret_gets_no_table() {
    let manager = FakeManager::with(vec![]).await;
    let mut config = config();
    config.manager = manager.url();
    config.secret = Some(Secret::new("wrong"));
    let proxy = TestProxy::start(config, tempfile::tempdir().unwrap()).await;
    assert_eq!(
        proxy.get(HOST, "/").await.status,
        StatusCode::SERVICE_UNAVAILABLE
    );
}

#[tokio::test]
async fn the_last_table_is_kept_privately_and_served_when_the_manager_is_away() {
    let upstream = Upstream::echo().await;
    let manager = FakeManager::with(vec![route(upstream.address)]).await;
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("data/table.json");
    let start = async || {
        let mut config = config();
        config.manager = manager.url();
        config.secret = Some(Secret::new("the proxy's secret"));
        config.table_cache = Some(cache.clone());
        TestProxy::start(config, tempfile::tempdir().unwrap()).await
    };
    let proxy = start().await;
    proxy.ready().await;
    eventually(async || cache.exists()).await;
    let mode = std::fs::metadata(&cache).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    drop(proxy);
    let url = manager.url();
    drop(manager);
    let mut config = config();
    config.manager = url;
    config.table_cache = Some(cache.clone());
    let proxy = TestProxy::start(config, tempfile::tempdir().unwrap()).await;
    assert_eq!(proxy.get(HOST, "/api/x").await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_fixed_table_is_read_again_when_it_changes() {
    let upstream = Upstream::echo().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("routes.json");
    let write =
        |routes| std::fs::write(&path, serde_json::to_vec(&table(routes)).unwrap()).unwrap();
    write(vec![]);
    let mut config = config();
    config.routes = Some(path.clone());
    let proxy = TestProxy::start(config, tempfile::tempdir().unwrap()).await;
    assert_eq!(
        proxy.get(HOST, "/api/x").await.status,
        StatusCode::NOT_FOUND
    );
    write(vec![route(upstream.address)]);
    eventually(async || proxy.get(HOST, "/api/x").await.status == StatusCode::OK).await;
    std::fs::write(&path, "not JSON").unwrap();
    assert_eq!(proxy.get(HOST, "/api/x").await.status, StatusCode::OK);
}

#[tokio::test]
async fn the_fixed_table_of_the_contract_suffices() {
    let upstream = Upstream::echo().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("routes.json");
    let json = serde_json::json!({
        "version": 1, "domain": "example.com", "dashboard": null,
        "routes": [{
            "hosts": ["wf1.example.com"], "instanceId": "0198f0a0-0000-7000-8000-000000000003",
            "engine": "node-red", "upstream": upstream.address, "state": "running", "webhookAccess": "open",
        }],
    });
    std::fs::write(&path, json.to_string()).unwrap();
    let mut config = config();
    config.routes = Some(path);
    let proxy = TestProxy::start(config, folder).await;
    assert_eq!(proxy.get(HOST, "/api/x").await.text(), "/api/x");
    assert_eq!(
        proxy.get("example.com", "/").await.status,
        StatusCode::NOT_FOUND
    );
}

#[tokio::test]
async fn states_without_service_are_explained() {
    let upstream = Upstream::echo().await;
    for (state, words) in [
        (RouteState::Starting, "starting"),
        (RouteState::Stopping, "stopping"),
        (RouteState::Stopped, "stopped"),
        (RouteState::Sleeping, "asleep"),
        (RouteState::Crashed, "crashed"),
        (RouteState::Failed, "could not be started"),
    ] {
        let stopped = Route {
            state,
            detail: Some("exit code 134".to_owned()),
            ..route(upstream.address)
        };
        let proxy = TestProxy::fixed(table(vec![stopped])).await;
        let reply = proxy.get(HOST, "/api/x").await;
        assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(reply.header("retry-after").is_some());
        assert!(
            reply.text().contains(words) && reply.text().contains("exit code 134"),
            "{}",
            reply.text()
        );
    }
    assert_eq!(upstream.seen().len(), 0);
}

#[tokio::test]
async fn a_port_in_use_and_a_missing_table_are_told_before_serving() {
    let taken = tokio::net::TcpListener::bind(loopback()).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("routes.json");
    let mut config = config();
    config.routes = Some(path.clone());
    let error = format!("{:#}", Proxy::bind(config.clone()).await.err().unwrap());
    assert!(error.contains("routes.json"), "{error}");
    std::fs::write(&path, serde_json::to_vec(&table(vec![])).unwrap()).unwrap();
    config.listen = taken.local_addr().unwrap();
    config.threads = 2;
    let error = format!("{:#}", Proxy::bind(config).await.err().unwrap());
    assert!(error.contains("in use"), "{error}");
}
