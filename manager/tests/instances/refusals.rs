use axum::{
    body::{Body, to_bytes},
    http::Request,
};
use openflow_manager::runtime::Error;
use serde_json::{Value, json};
use sqlx::PgPool;
use tower::ServiceExt as _;
use uuid::Uuid;

use crate::support::{HOST, Who, instances::Bench};

/// A body for a new instance, with `more` in it.
fn new(more: Value) -> Value {
    let mut body = json!({"name": "New", "subdomain": "new"});
    for (name, value) in more.as_object().unwrap() {
        body[name] = value.clone();
    }
    body
}

fn env(vars: Value) -> Value {
    new(json!({"env": vars}))
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn the_ways_a_new_instance_is_refused(pool: PgPool) {
    let bench = Bench::with_flags(pool, &["--max-memory-mb=2048", "--max-cpus=2"]).await;
    let it = bench.running("wf1").await;
    bench
        .post(&it.path("aliases"), json!({"name": "shop"}))
        .await
        .expect(201);
    let missing = missing_stack(&bench).await;
    let n8n = n8n_stack(&bench).await;
    let many: Vec<Value> = (0..101)
        .map(|n| json!({"name": format!("A{n}"), "value": ""}))
        .collect();
    let big = |bytes: usize| json!({"name": format!("B{bytes}"), "value": "x".repeat(bytes)});
    let hostname = "instance.bad_hostname";
    let bad_env = "env.invalid";
    let resources = "template.invalid";
    #[rustfmt::skip]
    let table = [
        (new(json!({"name": ""})), 422, "instance.bad_name", "name"),
        (new(json!({"name": "x".repeat(101)})), 422, "instance.bad_name", "name"),
        (new(json!({"name": "a\u{7}b"})), 422, "instance.bad_name", "name"),
        (new(json!({"subdomain": ""})), 422, hostname, "subdomain"),
        (new(json!({"subdomain": "Wf"})), 422, hostname, "subdomain"),
        (new(json!({"subdomain": "-a"})), 422, hostname, "subdomain"),
        (new(json!({"subdomain": "a-"})), 422, hostname, "subdomain"),
        (new(json!({"subdomain": "a.b"})), 422, hostname, "subdomain"),
        (new(json!({"subdomain": "x".repeat(64)})), 422, hostname, "subdomain"),
        (new(json!({"subdomain": "www"})), 422, "instance.reserved_hostname", "subdomain"),
        (new(json!({"subdomain": "xn--80ak6aa92e"})), 422, "instance.reserved_hostname", "subdomain"),
        (new(json!({"subdomain": "wf1"})), 409, "instance.hostname_taken", "subdomain"),
        (new(json!({"subdomain": "shop"})), 409, "instance.hostname_taken", "subdomain"),
        (new(json!({"template": Uuid::now_v7()})), 404, "template.not_found", ""),
        (new(json!({"stack": Uuid::now_v7()})), 404, "stack.not_found", ""),
        (new(json!({"stack": missing})), 409, "stack.not_ready", ""),
        (new(json!({"stack": n8n, "resources": {"memoryMb": 639}})), 422, "instance.too_little_memory", "resources"),
        (new(json!({"resources": {"memoryMb": 63}})), 422, resources, "resources"),
        (new(json!({"resources": {"memoryMb": 65537}})), 422, resources, "resources"),
        (new(json!({"resources": {"memoryMb": 2049}})), 422, "instance.over_limit", "resources"),
        (new(json!({"resources": {"cpus": 2.5}})), 422, "instance.over_limit", "resources"),
        (new(json!({"resources": {"cpus": 0}})), 422, resources, "resources"),
        (new(json!({"resources": {"cpus": -1}})), 422, resources, "resources"),
        (new(json!({"resources": {"memoryMb": "256"}})), 422, "request.malformed", ""),
        (new(json!({"resources": {"disk": 1}})), 422, "request.malformed", ""),
        (env(json!([{"name": "1A", "value": "x"}])), 422, bad_env, "env"),
        (env(json!([{"name": "OPENFLOW_MAGIC_TOKEN", "value": "x"}])), 422, bad_env, "env"),
        (env(json!([{"name": "LD_PRELOAD", "value": "x"}])), 422, bad_env, "env"),
        (env(json!([{"name": "A", "value": "x"}, {"name": "A", "value": "y"}])), 422, bad_env, "env"),
        (env(json!([{"name": "A"}])), 422, bad_env, "env"),
        (env(json!([{"name": "A", "secret": true}])), 422, bad_env, "env"),
        (env(json!([{"name": "A", "value": "\u{0}"}])), 422, bad_env, "env"),
        (env(json!([big(32769)])), 422, bad_env, "env"),
        (env(json!([big(32768), big(32767)])), 422, bad_env, "env"),
        (env(json!(many)), 422, bad_env, "env"),
        (env(json!([{"name": "A", "value": "x", "mount": "/"}])), 422, "request.malformed", ""),
        (new(json!({"image": "evil"})), 422, "request.malformed", ""),
        (new(json!({"id": Uuid::now_v7()})), 422, "request.malformed", ""),
        (json!({"name": "New"}), 422, "request.malformed", ""),
        (json!([]), 422, "request.malformed", ""),
    ];
    let rows = bench.t.count("select count(*) from instances").await;
    for (body, status, code, field) in table {
        let answer = bench.post(&bench.instances_path(), body.clone()).await;
        assert_eq!(
            answer.refusal(),
            (status, code),
            "{body:.200} {}",
            answer.json
        );
        let json = &answer.json;
        assert_eq!(json["status"], status);
        assert_eq!(json["type"], format!("/problems/{code}"));
        assert!(json["title"].is_string() && json["detail"].is_string());
        assert_eq!(
            json["requestId"],
            answer.headers["x-request-id"].to_str().unwrap()
        );
        if !field.is_empty() {
            assert!(json["errors"][field][0].is_string(), "{body:.200} {json}");
        }
    }
    // Nothing was half written.
    assert_eq!(bench.t.count("select count(*) from instances").await, rows);
    assert_eq!(bench.t.count("select count(*) from hostnames").await, 2);
    let audited = "select count(*) from audit_log where action = 'instance.create'";
    assert_eq!(bench.t.count(audited).await, rows);
}

/// A stack whose image nobody has.
async fn missing_stack(bench: &Bench) -> Value {
    let refused = Error::Refused("no such image".into());
    bench.runtime.remove_image("nobody/has:1");
    bench
        .runtime
        .fail_next(openflow_manager::runtime::Op::Pull, refused);
    bench.made_stack("node-red", "nobody/has:1", "failed").await
}

async fn n8n_stack(bench: &Bench) -> Value {
    bench.made_stack("n8n", "openflow/n8n:1", "ready").await
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn the_ways_a_change_is_refused(pool: PgPool) {
    let bench = Bench::with_flags(pool, &["--max-memory-mb=2048"]).await;
    let it = bench.running("wf1").await;
    let other = bench.running("wf2").await;
    bench
        .post(&other.path("aliases"), json!({"name": "shop"}))
        .await
        .expect(201);
    let stopped = bench.running("wf3").await;
    bench.ask(&stopped, "stop", "stopped").await;
    let (missing, n8n) = (missing_stack(&bench).await, n8n_stack(&bench).await);
    let (own, aliases, launch) = (it.path(""), it.path("aliases"), it.path("launch"));
    let taken = "instance.hostname_taken";
    let next = |text: &str| json!({"next": text});
    #[rustfmt::skip]
    let table = [
        ("PATCH", &own, json!({"name": ""}), 422, "instance.bad_name", "name"),
        ("PATCH", &own, json!({"subdomain": "a_b"}), 422, "instance.bad_hostname", "subdomain"),
        ("PATCH", &own, json!({"subdomain": "api"}), 422, "instance.reserved_hostname", "subdomain"),
        ("PATCH", &own, json!({"subdomain": "wf2"}), 409, taken, "subdomain"),
        ("PATCH", &own, json!({"subdomain": "shop"}), 409, taken, "subdomain"),
        ("PATCH", &own, json!({"stackId": Uuid::now_v7()}), 404, "stack.not_found", ""),
        ("PATCH", &own, json!({"stackId": missing}), 409, "stack.not_ready", ""),
        ("PATCH", &own, json!({"stackId": n8n}), 422, "instance.other_engine", "stackId"),
        ("PATCH", &own, json!({"resources": {"memoryMb": 1}}), 422, "template.invalid", "resources"),
        ("PATCH", &own, json!({"resources": {"memoryMb": 4096}}), 422, "instance.over_limit", "resources"),
        ("PATCH", &own, json!({"status": "running"}), 422, "request.malformed", ""),
        ("POST", &aliases, json!({"name": "wf2"}), 409, taken, "name"),
        ("POST", &aliases, json!({"name": "wf1"}), 409, taken, "name"),
        ("POST", &aliases, json!({"name": "shop"}), 409, taken, "name"),
        ("POST", &aliases, json!({"name": "Shop"}), 422, "instance.bad_hostname", "name"),
        ("POST", &aliases, json!({"name": "mqtt"}), 422, "instance.reserved_hostname", "name"),
        ("POST", &launch, next("//evil.com"), 422, "instance.bad_next", "next"),
        ("POST", &launch, next("/\\evil.com"), 422, "instance.bad_next", "next"),
        ("POST", &launch, next("https://evil.com"), 422, "instance.bad_next", "next"),
        ("POST", &launch, next("/a\r\nSet-Cookie: a=b"), 422, "instance.bad_next", "next"),
        ("POST", &launch, next(&"/".repeat(2049)), 422, "instance.bad_next", "next"),
        ("POST", &launch, json!({"extra": 1}), 422, "request.malformed", ""),
        ("POST", &stopped.path("launch"), Value::Null, 409, "instance.not_running", ""),
        ("PUT", &it.path("env"), json!({"items": [{"name": "A", "secret": true}]}), 422, "env.invalid", "env"),
        ("GET", &it.path("logs?tail=all"), Value::Null, 400, "request.malformed", ""),
        ("GET", &format!("{}?limit=0", bench.instances_path()), Value::Null, 422, "request.bad_limit", "limit"),
        ("GET", &format!("{}?cursor=x", bench.instances_path()), Value::Null, 422, "request.bad_cursor", "cursor"),
        ("POST", &it.path("fly"), Value::Null, 404, "request.not_found", ""),
        ("PUT", &own, json!({}), 405, "request.method_not_allowed", ""),
        ("GET", &"/api/v1/instances/not-an-id".to_owned(), Value::Null, 404, "request.not_found", ""),
        ("GET", &format!("/api/v1/instances/{}", Uuid::now_v7()), Value::Null, 404, "instance.not_found", ""),
    ];
    let before = bench.see(&it).await;
    for (method, path, body, status, code, field) in table {
        let answer = bench.call(method, path, body.clone()).await;
        assert_eq!(
            answer.refusal(),
            (status, code),
            "{method} {path} {body} {}",
            answer.json
        );
        if !field.is_empty() {
            assert!(
                answer.json["errors"][field][0].is_string(),
                "{body} {}",
                answer.json
            );
        }
    }
    assert_eq!(bench.see(&it).await, before);
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn who_may_do_what_with_an_instance(pool: PgPool) {
    let bench = Bench::new(pool).await;
    let it = bench.running("wf1").await;
    bench
        .post(&it.path("aliases"), json!({"name": "shop"}))
        .await
        .expect(201);
    let (viewer, stranger) = (bench.t.person("Vi").await, bench.t.person("Eve").await);
    bench.t.add_member(bench.project, &viewer, "viewer").await;
    let env = json!({"items": []});
    #[rustfmt::skip]
    let table = [
        ("GET", it.path(""), Value::Null, true),
        ("GET", it.path("env"), Value::Null, true),
        ("GET", it.path("aliases"), Value::Null, true),
        ("GET", it.path("stats"), Value::Null, true),
        ("POST", it.path("launch"), Value::Null, true),
        ("PATCH", it.path(""), json!({"name": "x"}), false),
        ("DELETE", it.path(""), Value::Null, false),
        ("POST", it.path("start"), Value::Null, false),
        ("POST", it.path("stop"), Value::Null, false),
        ("POST", it.path("restart"), Value::Null, false),
        ("PUT", it.path("env"), env, false),
        ("POST", it.path("aliases"), json!({"name": "other"}), false),
        ("DELETE", it.path("aliases/shop"), Value::Null, false),
    ];
    let before = bench.see(&it).await;
    for (method, path, body, viewer_may) in table {
        let answer = bench
            .t
            .call(method, &path, &stranger.who, body.clone())
            .await;
        assert_eq!(
            answer.refusal(),
            (404, "instance.not_found"),
            "{method} {path}"
        );
        let answer = bench
            .t
            .call(method, &path, &Who::Nobody, body.clone())
            .await;
        assert_eq!(answer.refusal(), (401, "auth.required"), "{method} {path}");
        let answer = bench.t.call(method, &path, &viewer.who, body).await;
        match viewer_may {
            true => assert_eq!(answer.status, 200, "{method} {path}"),
            false => assert_eq!(
                answer.refusal(),
                (403, "project.role_required"),
                "{method} {path}"
            ),
        }
    }
    // By name it is the same.
    for (who, status) in [(&stranger.who, 404), (&viewer.who, 200)] {
        let body = json!({"subdomain": "shop"});
        let answer = bench.t.post("/api/v1/launch", who, body).await;
        assert_eq!(answer.status, status);
    }
    assert_eq!(bench.see(&it).await, before);
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn one_that_is_being_deleted_takes_no_changes(pool: PgPool) {
    let bench = Bench::new(pool).await;
    let it = bench.running("wf1").await;
    bench.t.kill().await; // so that it stays as it is
    bench
        .call("DELETE", &it.path(""), Value::Null)
        .await
        .expect(202);
    for (method, path, body) in [
        ("PATCH", it.path(""), json!({"name": "x"})),
        ("POST", it.path("start"), Value::Null),
        ("POST", it.path("stop"), Value::Null),
        ("POST", it.path("restart"), Value::Null),
        ("POST", it.path("launch"), Value::Null),
        ("PUT", it.path("env"), json!({"items": []})),
        ("POST", it.path("aliases"), json!({"name": "shop"})),
    ] {
        let answer = bench.call(method, &path, body).await;
        assert_eq!(
            answer.refusal(),
            (409, "instance.deleting"),
            "{method} {path}"
        );
    }
    // Asking once more is fine.
    let again = bench
        .call("DELETE", &it.path(""), Value::Null)
        .await
        .expect(202);
    assert_eq!(again["status"], "deleting");
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn projects_and_instances_hold_only_so_much(pool: PgPool) {
    let bench = Bench::with_flags(pool, &["--max-instances-per-project=2"]).await;
    let it = bench.create("wf1").await;
    bench.create("wf2").await;
    let answer = bench.try_create("wf3", json!({})).await;
    assert_eq!(answer.refusal(), (403, "instance.too_many"));
    bench
        .call("DELETE", &it.path(""), Value::Null)
        .await
        .expect(202);
    let it = bench.create("wf3").await;
    for n in 0..20 {
        let body = json!({"name": format!("alias{n}")});
        bench.post(&it.path("aliases"), body).await.expect(201);
    }
    let answer = bench
        .post(&it.path("aliases"), json!({"name": "one-more"}))
        .await;
    assert_eq!(answer.refusal(), (403, "instance.too_many_aliases"));
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn of_many_creates_at_once_for_one_name_one_wins(pool: PgPool) {
    let bench = Bench::new(pool).await;
    // Each in its own project, where no lock of the project orders them.
    let mut projects = vec![bench.project];
    for _ in 0..9 {
        projects.push(bench.t.project(&bench.ada).await);
    }
    let tries = projects.iter().map(|project| {
        let path = format!("/api/v1/projects/{project}/instances");
        let body = json!({"name": "wf1", "subdomain": "wf1"});
        async { bench.t.post(&{ path }, &bench.ada.who, body).await }
    });
    let answers = futures_util::future::join_all(tries).await;
    let won: Vec<_> = answers.iter().filter(|it| it.status == 201).collect();
    assert_eq!(won.len(), 1);
    for lost in answers.iter().filter(|it| it.status != 201) {
        assert_eq!(lost.refusal(), (409, "instance.hostname_taken"));
    }
    let it = crate::support::instances::It::of(&won[0].json);
    bench.until(&it, "running").await;
    assert_eq!(bench.t.count("select count(*) from instances").await, 1);
    assert_eq!(bench.t.count("select count(*) from hostnames").await, 1);
    let audited = "select count(*) from audit_log where action = 'instance.create'";
    assert_eq!(bench.t.count(audited).await, 1);
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn a_body_that_is_not_what_it_should_be_is_a_problem(pool: PgPool) {
    let bench = Bench::new(pool).await;
    let Who::Cookie(cookie) = &bench.ada.who else {
        unreachable!()
    };
    let huge = vec![b' '; (2 << 20) + 1];
    for (kind, body, status, code) in [
        ("application/json", b"{".to_vec(), 400, "request.malformed"),
        (
            "application/json",
            b"\xff".to_vec(),
            400,
            "request.malformed",
        ),
        ("text/plain", b"{}".to_vec(), 415, "request.not_json"),
        ("application/json", huge, 413, "request.too_large"),
    ] {
        let request = Request::post(bench.instances_path())
            .header("host", HOST)
            .header("cookie", format!("__Host-openflow_session={cookie}"))
            .header("content-type", kind)
            .header("x-request-id", "my-own-id")
            .body(Body::from(body))
            .unwrap();
        let response = bench.t.router.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), status);
        assert_eq!(
            response.headers()["content-type"],
            "application/problem+json"
        );
        let bytes = to_bytes(response.into_body(), 1 << 16).await.unwrap();
        let problem: Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(problem["code"], code);
        assert_eq!(problem["requestId"], "my-own-id");
    }
}
