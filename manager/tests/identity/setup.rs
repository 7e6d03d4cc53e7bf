use std::sync::Arc;

use openflow_manager::{identity::Error, kernel::Secret};
use serde_json::{Value, json};
use sqlx::PgPool;
use tokio::task::JoinSet;

use crate::support::{PASSWORD, TestApp, Who};

const SETUP: &str = "/api/v1/setup";

fn body(token: &str) -> Value {
    json!({"token": token, "email": "ada@example.com", "name": "Ada", "password": PASSWORD})
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn the_first_administrator_is_made_and_signed_in(pool: PgPool) {
    let t = TestApp::new(pool).await;
    let needed = async || t.get(SETUP, &Who::Nobody).await.expect(200)["needed"].clone();
    assert_eq!(needed().await, true);
    let token = t.identity.ensure_setup_token().await.unwrap().unwrap();

    let answer = t.post(SETUP, &Who::Nobody, body(token.expose())).await;
    assert_eq!(answer.status, 204);
    let who = Who::Cookie(answer.cookie().unwrap());
    assert_eq!(needed().await, false);
    let me = t.get("/api/v1/auth/me", &who).await.expect(200);
    assert_eq!((&me["name"], &me["isAdmin"]), (&json!("Ada"), &json!(true)));
    let projects = t.get("/api/v1/projects", &who).await.expect(200);
    assert_eq!(projects["items"][0]["name"], "Ada's project");
    assert_eq!(projects["items"][0]["role"], "owner");
    let log = t.get("/api/v1/audit?action=user.create", &who).await;
    assert_eq!(log.expect(200)["items"][0]["actor"]["kind"], "setup");

    // The link is dead, and no other is made.
    let again = t.post(SETUP, &Who::Nobody, body(token.expose())).await;
    assert_eq!(again.refusal(), (410, "setup.done"));
    assert!(t.identity.ensure_setup_token().await.unwrap().is_none());
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn the_ways_a_setup_is_refused(pool: PgPool) {
    let t = TestApp::new(pool).await;
    let refused = async |body: Value| {
        let answer = t.post(SETUP, &Who::Nobody, body).await;
        let (status, code) = answer.refusal();
        (status, code.to_owned())
    };
    let none_yet = refused(body("x")).await;
    assert_eq!(none_yet, (403, "setup.bad_token".into()));

    let former = t.identity.ensure_setup_token().await.unwrap().unwrap();
    let token = t.identity.ensure_setup_token().await.unwrap().unwrap();
    let with = |field: &str, value: &str| {
        let mut body = body(token.expose());
        body[field] = value.into();
        body
    };
    for (body, status, code) in [
        (body(former.expose()), 403, "setup.bad_token"),
        (body(""), 403, "setup.bad_token"),
        (with("email", "ada"), 422, "email.invalid"),
        (with("email", "a\0@b"), 422, "email.invalid"),
        (with("name", " "), 422, "name.invalid"),
        (with("password", "short"), 422, "password.too_short"),
        (
            with("password", "ADA@example.com"),
            422,
            "password.is_email",
        ),
        (with("password", &"x".repeat(257)), 422, "password.too_long"),
        (with("role", "god"), 422, "request.malformed"),
    ] {
        assert_eq!(refused(body.clone()).await, (status, code.into()), "{body}");
    }
    // A refused setup did not use up the token.
    let answer = t.post(SETUP, &Who::Nobody, body(token.expose())).await;
    assert_eq!(answer.status, 204);
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn of_a_hundred_setups_at_once_one_succeeds(pool: PgPool) {
    let t = Arc::new(TestApp::new(pool).await);
    let token = t.identity.ensure_setup_token().await.unwrap().unwrap();
    let mut tries = JoinSet::new();
    for n in 0..100 {
        let (t, token) = (t.clone(), token.clone());
        tries.spawn(async move {
            let mut body = body(token.expose());
            body["email"] = format!("ada{n}@example.com").into();
            t.post(SETUP, &Who::Nobody, body).await.status
        });
    }
    let mut statuses = tries.join_all().await;
    statuses.sort_unstable();
    assert_eq!(statuses[0], 204);
    assert!(statuses[1..].iter().all(|it| *it == 410), "{statuses:?}");
    assert_eq!(t.count("select count(*) from users").await, 1);
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn the_configured_administrator_is_made_once(pool: PgPool) {
    let t = TestApp::new(pool).await;
    let password = Secret::new(PASSWORD);
    for _ in 0..5 {
        t.identity.ensure_setup_token().await.unwrap().unwrap();
        let (a, b) = tokio::join!(
            t.identity.ensure_admin("root@example.com", &password),
            t.identity.ensure_admin("boss@example.com", &password),
        );
        assert!(a.unwrap() != b.unwrap(), "one of two managers");
        let again = t.identity.ensure_admin("late@example.com", &password).await;
        assert!(!again.unwrap());
        let admins = "select count(*) from users where is_admin";
        assert_eq!(t.count(admins).await, 1);
        assert_eq!(t.count("select count(*) from setup_token").await, 0);
        sqlx::query("delete from users")
            .execute(&t.pool)
            .await
            .unwrap();
    }
    let short = Secret::new("short");
    let refused = t.identity.ensure_admin("root@example.com", &short).await;
    assert!(matches!(refused, Err(Error::Invalid(_))));
}
