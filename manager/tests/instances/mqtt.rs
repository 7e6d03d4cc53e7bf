//! The broker's hook (`contracts.md` spells its body and answers).
use axum::{
    body::{Body, to_bytes},
    http::Request,
};
use serde_json::{Value, json};
use sqlx::PgPool;
use tower::ServiceExt as _;

use crate::support::instances::{Bench, It, eventually};

/// What the hook says to that body: its status and its JSON.
async fn ask(bench: &Bench, secret: Option<&str>, body: impl Into<Body>) -> (u16, Value) {
    let mut request = Request::post("/mqtt/auth").header("content-type", "application/json");
    if let Some(secret) = secret {
        request = request.header("x-openflow-hook-secret", secret);
    }
    let request = request.body(body.into()).unwrap();
    let response = bench.t.router.clone().oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    let bytes = to_bytes(response.into_body(), 1 << 16).await.unwrap();
    (status, serde_json::from_slice(&bytes).unwrap())
}

async fn connect(bench: &Bench, body: &Value) -> (u16, Value) {
    let secret = bench.t.settings.secrets.hook.expose();
    ask(bench, Some(secret), body.to_string()).await
}

/// What a container of the instance connects with.
fn credentials(bench: &Bench, it: &It) -> Value {
    let env = |name| bench.env_of(it, name).unwrap();
    let username = env("OPENFLOW_MQTT_USERNAME");
    json!({
        "username": username,
        "password": env("OPENFLOW_MQTT_PASSWORD"),
        "clientid": format!("{username}:device-1"),
        "peerhost": "172.30.0.5",
    })
}

fn deny() -> (u16, Value) {
    (200, json!({"result": "deny"}))
}

fn allow(bench: &Bench) -> (u16, Value) {
    let tenant = format!("ff/{}/", bench.project);
    let answer =
        json!({"result": "allow", "is_superuser": false, "client_attrs": {"tenant": tenant}});
    (200, answer)
}

async fn until(bench: &Bench, body: &Value, expected: (u16, Value)) {
    eventually("the hook is current", async || {
        (connect(bench, body).await == expected).then_some(())
    })
    .await;
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn an_instance_is_let_in_to_its_projects_topics(pool: PgPool) {
    let bench = Bench::new(pool).await;
    let (it, other) = (bench.running("wf1").await, bench.running("wf2").await);
    let body = credentials(&bench, &it);
    until(&bench, &body, allow(&bench)).await;
    assert_eq!(body["username"], json!(it.id));
    let others = credentials(&bench, &other);
    let id = it.id;
    let with = |name: &str, value: Value| {
        let mut body = body.clone();
        body[name] = value;
        body
    };
    let without = |name: &str| {
        let mut body = body.clone();
        body.as_object_mut().unwrap().remove(name);
        body
    };
    // What EMQX says besides does not matter.
    for fine in [
        with("extra", json!({"a": 1})),
        with("peerhost", Value::Null),
        without("peerhost"),
        with("clientid", json!(format!("{id}:"))),
        with("clientid", json!(format!("{id}:ä \"quoted\""))),
    ] {
        assert_eq!(connect(&bench, &fine).await, allow(&bench), "{fine}");
    }
    for bad in [
        with("password", json!("wrong")),
        with("password", json!("")),
        with("password", Value::Null),
        with("password", json!(7)),
        with("password", json!(["x"])),
        with("password", others["password"].clone()),
        with("username", others["username"].clone()),
        with("username", json!("")),
        with("username", Value::Null),
        with("username", json!(format!("{id} "))),
        with("username", json!(id.to_string().to_uppercase())),
        with("username", json!("x".repeat(100_000))),
        with("clientid", json!("device-1")),
        with("clientid", json!("")),
        with("clientid", Value::Null),
        with("clientid", json!(id.to_string())),
        with("clientid", json!(format!(":{id}:a"))),
        with("clientid", json!(format!("{}:device-1", other.id))),
        without("username"),
        without("password"),
        without("clientid"),
        json!({}),
        json!([]),
        json!("x"),
        Value::Null,
    ] {
        assert_eq!(connect(&bench, &bad).await, deny(), "{bad:.100}");
    }
    let secret = Some(bench.t.settings.secrets.hook.expose());
    let twice =
        format!(r#"{{"username":"{id}","username":"{id}","password":"x","clientid":"{id}:a"}}"#);
    for garbage in [
        Vec::new(),
        b"{".to_vec(),
        b"\xff\xfe".to_vec(),
        b"username=a&password=b".to_vec(),
        twice.into_bytes(),
        vec![b'['; 100_000],
        vec![b' '; (2 << 20) + 1],
    ] {
        assert_eq!(ask(&bench, secret, garbage).await, deny());
    }
    assert_eq!(connect(&bench, &body).await, allow(&bench));
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn only_the_broker_is_answered(pool: PgPool) {
    let bench = Bench::new(pool).await;
    let it = bench.running("wf1").await;
    let body = credentials(&bench, &it);
    until(&bench, &body, allow(&bench)).await;
    let proxys = bench.t.settings.secrets.proxy.expose();
    for secret in [None, Some(""), Some("wrong"), Some(proxys)] {
        for body in [body.to_string(), "{".to_owned(), " ".repeat((2 << 20) + 1)] {
            let (status, answer) = ask(&bench, secret, body).await;
            assert_eq!(
                (status, &answer["code"]),
                (401, &json!("auth.wrong_secret"))
            );
        }
    }
    let get = bench.get("/mqtt/auth").await;
    assert_eq!(get.refusal(), (405, "request.method_not_allowed"));
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn who_should_not_run_is_not_let_in(pool: PgPool) {
    let bench = Bench::new(pool).await;
    let it = bench.running("wf1").await;
    let body = credentials(&bench, &it);
    until(&bench, &body, allow(&bench)).await;
    bench.ask(&it, "stop", "stopped").await;
    until(&bench, &body, deny()).await;
    // The password survives restarts.
    bench.ask(&it, "start", "running").await;
    assert_eq!(credentials(&bench, &it), body);
    until(&bench, &body, allow(&bench)).await;
    bench
        .call("DELETE", &it.path(""), Value::Null)
        .await
        .expect(202);
    until(&bench, &body, deny()).await;
    bench.until_gone(&it).await;
    assert_eq!(connect(&bench, &body).await, deny());
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn each_project_has_its_own_topics(pool: PgPool) {
    let mut bench = Bench::new(pool).await;
    let it = bench.running("wf1").await;
    let body = credentials(&bench, &it);
    until(&bench, &body, allow(&bench)).await;
    let first = bench.project;
    bench.project = bench.t.project(&bench.ada).await;
    let other = bench.running("wf2").await;
    let others = credentials(&bench, &other);
    until(&bench, &others, allow(&bench)).await;
    assert_ne!(bench.project, first);
    bench.project = first;
    assert_eq!(connect(&bench, &body).await, allow(&bench));
    // A new manager knows them all.
    bench.kill_and_start_anew().await;
    until(&bench, &body, allow(&bench)).await;
}
