//! What the proxy is told (`docs/wire.md`).
use std::net::SocketAddr;

use axum::{
    body::{Body, to_bytes},
    extract::ConnectInfo,
    http::Request,
};
use openflow_manager::runtime::{FakeProbe, Runtime as _};
use openflow_route_api::{RouteTable, identity_key};
use serde_json::{Value, json};
use sqlx::PgPool;
use tower::ServiceExt as _;

use crate::support::{Who, instances::Bench};

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn the_table_is_as_the_wire_says(pool: PgPool) {
    let bench = Bench::new(pool).await;
    let root = bench.t.admin("Root").await;
    let it = bench.running("wf1").await;
    bench
        .post(&it.path("aliases"), json!({"name": "shop"}))
        .await
        .expect(201);
    let feed = bench
        .until_feed("the alias is there", |feed| {
            feed["routes"][0]["hosts"][1].is_string() && feed["access"]["admins"][0].is_string()
        })
        .await;
    assert_eq!(feed["version"], 1);
    assert_eq!(feed["domain"], "localhost");
    assert_eq!(feed["dashboard"], "127.0.0.1:4071");
    assert_eq!(feed["dashboardUrl"], "http://localhost:8080");
    let address = bench.runtime.container(it.key()).unwrap().address.unwrap();
    let magic = bench.env_of(&it, "OPENFLOW_MAGIC_TOKEN").unwrap();
    let expected = json!({
        "hosts": ["wf1.localhost", "shop.localhost"],
        "instanceId": it.id,
        "projectId": bench.project,
        "engine": "node-red",
        "upstream": format!("{address}:1880"),
        "state": "running",
        "webhookAccess": "open",
        "identityKey": identity_key(&magic),
    });
    let route = feed["routes"][0].as_object().unwrap();
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(&route[name], value, "{name}");
    }
    let absent = ["detail", "webhookUsername", "webhookSecretHash"];
    assert!(
        absent
            .iter()
            .all(|it| route.get(*it).is_none_or(Value::is_null))
    );
    assert_eq!(feed["access"]["admins"], json!([root.id]));
    let members = json!({bench.project.to_string(): {bench.ada.id.to_string(): "owner"}});
    assert_eq!(feed["access"]["members"], members);
    assert_eq!(feed["access"]["cookieKeys"].as_array().unwrap().len(), 1);
    assert!(!feed.to_string().contains(&magic));
    // And the proxy can read it.
    serde_json::from_value::<RouteTable>(feed).unwrap();
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn a_reader_waits_for_news_and_gets_it(pool: PgPool) {
    let bench = Bench::new(pool).await;
    let it = bench.running("wf1").await;
    let feed = bench
        .until_feed("it is routed", |feed| {
            feed["routes"][0]["state"] == "running"
        })
        .await;
    let after = feed["revision"].as_str().unwrap();
    let none = bench
        .feed_after(&format!("after={after}&waitSeconds=0"))
        .await;
    assert_eq!((none.status, none.json), (204, Value::Null));
    let other = bench
        .feed_after("after=other&waitSeconds=30")
        .await
        .expect(200);
    assert_eq!(other, feed);

    let query = format!("after={after}&waitSeconds=30");
    let aliases = it.path("aliases");
    let (news, _) = tokio::join!(
        bench.feed_after(&query),
        bench.post(&aliases, json!({"name": "shop"})),
    );
    let news = news.expect(200);
    assert_eq!(
        news["routes"][0]["hosts"],
        json!(["wf1.localhost", "shop.localhost"])
    );
    assert_ne!(news["revision"], feed["revision"]);

    let nobody = bench.t.get("/internal/v1/routes", &Who::Nobody).await;
    assert_eq!(nobody.refusal(), (401, "auth.wrong_secret"));
    let root = bench.t.admin("Root").await;
    let admin = bench.t.get("/internal/v1/routes", &root.who).await;
    assert_eq!(admin.refusal(), (401, "auth.wrong_secret"));
    let malformed = bench.feed_after("waitSeconds=x").await;
    assert_eq!(malformed.refusal(), (400, "request.malformed"));
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn a_new_manager_with_the_same_facts_says_the_same(pool: PgPool) {
    let mut bench = Bench::new(pool).await;
    bench.running("wf1").await;
    let before = bench
        .until_feed("it is routed", |feed| {
            feed["routes"][0]["state"] == "running"
        })
        .await;
    bench.kill_and_start_anew().await;
    assert_eq!(bench.feed().await, before);
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn an_alias_works_at_once_and_touches_no_container(pool: PgPool) {
    let bench = Bench::new(pool).await;
    let it = bench.running("wf1").await;
    let container = bench.runtime.container(it.key());
    let hosts = |feed: &Value| feed["routes"][0]["hosts"].clone();
    for name in ["shop", "store"] {
        bench
            .post(&it.path("aliases"), json!({"name": name}))
            .await
            .expect(201);
    }
    bench.patch(&it, json!({"subdomain": "wf2"})).await;
    let all = json!(["wf2.localhost", "shop.localhost", "store.localhost"]);
    bench
        .until_feed("all names lead there", |feed| hosts(feed) == all)
        .await;
    bench
        .call("DELETE", &it.path("aliases/shop"), Value::Null)
        .await
        .expect(204);
    let rest = json!(["wf2.localhost", "store.localhost"]);
    bench
        .until_feed("it leads nowhere", |feed| hosts(feed) == rest)
        .await;
    let now = bench.runtime.container(it.key()).unwrap();
    assert_eq!(now.started_at, container.unwrap().started_at);
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn states_are_told_as_they_change(pool: PgPool) {
    let bench = Bench::new(pool).await;
    bench.runtime.set_probes(FakeProbe::Never);
    let it = bench.create("wf1").await;
    let state = async |state: &str| {
        bench
            .until_feed(state, |feed| feed["routes"][0]["state"] == state)
            .await["routes"][0]
            .clone()
    };
    state("starting").await;
    bench.runtime.set_probes(FakeProbe::Healthy { after: 0 });
    assert!(state("running").await["upstream"].is_string());
    bench.t.kill().await;
    // Asked for, and not done yet.
    bench.post(&it.path("stop"), Value::Null).await.expect(202);
    let bench = {
        let t = bench.t.another().await;
        t.run().await;
        Bench { t, ..bench }
    };
    let stopped = bench
        .until_feed("it is stopped", |feed| {
            feed["routes"][0]["state"] == "stopped"
        })
        .await;
    assert_eq!(stopped["routes"][0]["upstream"], Value::Null);
    bench
        .call("DELETE", &it.path(""), Value::Null)
        .await
        .expect(202);
    bench
        .until_feed("it is gone", |feed| feed["routes"] == json!([]))
        .await;
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn who_loses_a_right_loses_it_in_the_feed(pool: PgPool) {
    let bench = Bench::new(pool).await;
    let (root, vi) = (bench.t.admin("Root").await, bench.t.person("Vi").await);
    let path = format!("/api/v1/projects/{}/members/{}", bench.project, vi.id);
    let project = bench.project.to_string();
    let role = |feed: &Value| feed["access"]["members"][&project][&vi.id.to_string()].clone();
    for asked in ["member", "viewer", "owner"] {
        bench.call("PUT", &path, json!({"role": asked})).await;
        bench
            .until_feed("the role changes", |feed| role(feed) == asked)
            .await;
    }
    let user = format!("/api/v1/users/{}", vi.id);
    for (disabled, seen) in [(true, Value::Null), (false, json!("owner"))] {
        let body = json!({"disabled": disabled});
        bench
            .t
            .call("PATCH", &user, &root.who, body)
            .await
            .expect(200);
        bench
            .until_feed("the user goes and comes", |feed| role(feed) == seen)
            .await;
    }
    bench.call("DELETE", &path, Value::Null).await.expect(204);
    bench
        .until_feed("the member is gone", |feed| role(feed).is_null())
        .await;

    let admins = |feed: &Value| feed["access"]["admins"].as_array().unwrap().len();
    for (is_admin, count) in [(true, 2), (false, 1)] {
        let body = json!({"isAdmin": is_admin});
        bench
            .t
            .call("PATCH", &user, &root.who, body)
            .await
            .expect(200);
        bench
            .until_feed("administrators change", |feed| admins(feed) == count)
            .await;
    }
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn a_caller_from_the_instance_network_finds_two_doors(pool: PgPool) {
    let bench = Bench::new(pool).await;
    let it = bench.running("wf1").await;
    let inside = bench.runtime.container(it.key()).unwrap().address.unwrap();
    let answers = async |peer: SocketAddr, method: &str, path: &str| {
        let Who::Cookie(cookie) = &bench.ada.who else {
            unreachable!()
        };
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", "application/json")
            .header("cookie", format!("__Host-openflow_session={cookie}"))
            .header(
                "x-openflow-proxy-secret",
                bench.t.settings.secrets.proxy.expose(),
            )
            .header("x-forwarded-for", "127.0.0.1")
            .extension(ConnectInfo(peer))
            .body(Body::from("{}"))
            .unwrap();
        let response = bench.t.router.clone().oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
        (
            status,
            serde_json::from_slice::<Value>(&body).unwrap_or_default()["code"].clone(),
        )
    };
    let closed = [
        ("GET", "/"),
        ("GET", "/docs"),
        ("GET", "/metrics"),
        ("GET", "/api/v1/health"),
        ("GET", "/api/v1/openapi.json"),
        ("GET", "/api/v1/projects"),
        ("POST", "/api/v1/auth/login"),
        ("GET", "/internal/v1/routes"),
        ("POST", "/internal/v1/redeem"),
        ("GET", "/mqtt/auth/"),
        ("POST", "//mqtt/auth"),
        ("POST", "/shim/v1/redeem/../../../api/v1/setup"),
        ("GET", "/shim/v1"),
    ];
    // Before the network is known, whoever is not on this host might be inside.
    for known in [false, true] {
        if known {
            let network = bench.runtime.ensure_network().await.unwrap();
            bench.t.core.instance_side.set_network(network);
        }
        let mapped = SocketAddr::new(format!("::ffff:{inside}").parse().unwrap(), 5);
        for peer in [SocketAddr::new(inside, 5), mapped] {
            for (method, path) in closed {
                let (status, code) = answers(peer, method, path).await;
                assert_eq!(
                    (status, &code),
                    (404, &json!("request.not_found")),
                    "{method} {path}"
                );
            }
            assert_eq!(answers(peer, "POST", "/mqtt/auth").await.0, 401);
            assert_eq!(answers(peer, "POST", "/shim/v1/redeem").await.0, 422);
        }
        let local = "127.0.0.1:5".parse().unwrap();
        assert_eq!(answers(local, "GET", "/api/v1/projects").await.0, 200);
    }
    // The host itself is no instance, though it has an address in there.
    let gateway = "172.30.0.1:5".parse().unwrap();
    assert_eq!(answers(gateway, "GET", "/api/v1/health").await.0, 200);
}
