//! The broker's hook (`contracts.md` spells its body and answers).
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::{
    asking::{allow, ask, connect, credentials, deny, new_client, until},
    support::instances::Bench,
};

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
        with("peerhost", json!("2001:db8::1")),
        with("peerhost", json!("undefined")),
        with("peerhost", json!("")),
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
        with("username", json!(format!("{id}\0"))),
        with("username", json!("Ünïcödé 日本")),
        with("password", json!("\0")),
        with("password", json!("日本".repeat(200_000))),
        with("clientid", json!(format!("{id}:\0"))),
        with("clientid", json!(format!("{id}:{}", "x".repeat(1 << 20)))),
        with("peerhost", json!(7)),
        with("peerhost", json!({"a": 1})),
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
    let form = format!(
        "username={id}&password={}&clientid={id}%3Aa",
        body["password"].as_str().unwrap()
    );
    for garbage in [
        form.into_bytes(),
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
async fn a_broker_that_speaks_forms_is_told_nothing_else(pool: PgPool) {
    use axum::{
        body::{Body, to_bytes},
        http::Request,
    };
    use tower::ServiceExt as _;
    let bench = Bench::new(pool).await;
    for kind in ["application/x-www-form-urlencoded", "text/plain"] {
        let request = Request::post("/mqtt/auth")
            .header("content-type", kind)
            .header(
                "x-openflow-hook-secret",
                bench.t.settings.secrets.hook.expose(),
            )
            .body(Body::from("username=a&password=b&clientid=a%3Ab"));
        let response = bench
            .t
            .router
            .clone()
            .oneshot(request.unwrap())
            .await
            .unwrap();
        assert_eq!(response.headers()["content-type"], "application/json");
        let bytes = to_bytes(response.into_body(), 1 << 16).await.unwrap();
        assert_eq!(bytes, r#"{"result":"deny"}"#);
    }
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn a_clients_rules_come_with_the_answer(pool: PgPool) {
    let bench = Bench::new(pool).await;
    let plain = new_client(&bench, json!({"name": "Plain"})).await;
    until(&bench, &plain.body, allow(&bench)).await;
    for (n, (rules, acl)) in [
        (
            json!({"publish": ["up/+"], "subscribe": ["down/#"]}),
            json!([
                {"permission": "allow", "action": "publish", "topics": ["up/+"]},
                {"permission": "deny", "action": "publish", "topics": ["#"]},
                {"permission": "allow", "action": "subscribe", "topics": ["down/#"]},
                {"permission": "deny", "action": "subscribe", "topics": ["#"]},
            ]),
        ),
        (
            json!({"publish": []}),
            json!([{"permission": "deny", "action": "publish", "topics": ["#"]}]),
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let mut new = rules;
        new["name"] = json!(format!("Ruled {n}"));
        let client = new_client(&bench, new).await;
        let (status, mut answer) = allow(&bench);
        answer["acl"] = acl;
        until(&bench, &client.body, (status, answer)).await;
    }
}

/// That many wrong passwords in all.
const WRONG: usize = 10_000;

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn ten_thousand_wrong_passwords_lock_out_nobody_else(pool: PgPool) {
    let bench = Bench::new(pool).await;
    let (right, neighbour) = (
        new_client(&bench, json!({"name": "Right"})).await,
        new_client(&bench, json!({"name": "Neighbour"})).await,
    );
    let late = new_client(&bench, json!({"name": "Late"})).await;
    let from = |body: &Value, address: &str| {
        let mut body = body.clone();
        body["peerhost"] = json!(address);
        body
    };
    let (flooded, elsewhere) = ("203.0.113.1", "198.51.100.9");
    let neighbour = from(&neighbour.body, flooded);
    let right = from(&right.body, elsewhere);
    until(&bench, &neighbour, allow(&bench)).await;
    until(&bench, &from(&late.body, elsewhere), allow(&bench)).await;
    for n in 0..WRONG {
        let mut wrong = from(&right, &format!("203.0.113.{}", 1 + n % 8));
        wrong["password"] = json!(format!("guess {n}"));
        if n % 2 == 0 {
            wrong["username"] = json!(format!("nobody-{n}"));
        }
        assert_eq!(connect(&bench, &wrong).await, deny());
        if n % 1000 == 999 {
            assert_eq!(connect(&bench, &right).await, allow(&bench), "{n}");
            assert_eq!(connect(&bench, &neighbour).await, allow(&bench), "{n}");
        }
    }
    // From where the guesses came, the right password does not help any more;
    // that very user name from elsewhere is answered, and so is one that was
    // there before.
    assert_eq!(connect(&bench, &from(&right, flooded)).await, deny());
    assert_eq!(connect(&bench, &from(&late.body, flooded)).await, deny());
    assert_eq!(connect(&bench, &right).await, allow(&bench));
    assert_eq!(connect(&bench, &neighbour).await, allow(&bench));
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
