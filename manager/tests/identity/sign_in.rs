use axum::http::header;
use chrono::TimeDelta;
use openflow_manager::{
    identity::{Purge, SignInRates},
    jobs::Job as _,
    kernel::Secret,
};
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::support::{Answer, HOST, PASSWORD, Person, TestApp, Who};

const LOGIN: &str = "/api/v1/auth/login";
const ME: &str = "/api/v1/auth/me";
const EMAIL: &str = "Ada@example.com";

async fn app(pool: PgPool) -> TestApp {
    let t = TestApp::new(pool).await;
    let made = t.identity.ensure_admin(EMAIL, &Secret::new(PASSWORD)).await;
    assert!(made.unwrap());
    t
}

async fn login(t: &TestApp, who: &Who, email: &str, password: &str) -> Answer {
    t.post(LOGIN, who, json!({"email": email, "password": password}))
        .await
}

async fn is_in(t: &TestApp, who: &Who) -> bool {
    match t.get(ME, who).await.status {
        200 => true,
        401 => false,
        other => panic!("status {other}"),
    }
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn signing_in_and_out(pool: PgPool) {
    let t = app(pool).await;
    let answer = login(&t, &Who::Nobody, "ADA@EXAMPLE.com", PASSWORD).await;
    assert_eq!(answer.status, 204);
    let set = answer.headers[header::SET_COOKIE].to_str().unwrap();
    assert!(
        set.ends_with("; HttpOnly; Secure; SameSite=Lax; Path=/; Max-Age=2592000"),
        "{set}"
    );
    let first = Who::Cookie(answer.cookie().unwrap());
    let me = t.get(ME, &first).await.expect(200);
    assert_eq!(
        (&me["email"], &me["isAdmin"]),
        (&json!(EMAIL), &json!(true))
    );

    // Signing in again ends the session that the browser had.
    let answer = login(&t, &first, EMAIL, PASSWORD).await;
    let second = Who::Cookie(answer.cookie().unwrap());
    assert!(!is_in(&t, &first).await);
    assert!(is_in(&t, &second).await);

    let out = t.post("/api/v1/auth/logout", &second, Value::Null).await;
    assert_eq!((out.status, out.clears_cookie()), (204, true));
    assert!(!is_in(&t, &second).await);
    assert_eq!(t.count("select count(*) from sessions").await, 0);
    let out = t.post("/api/v1/auth/logout", &second, Value::Null).await;
    assert_eq!(out.status, 204);
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn a_refused_sign_in_does_not_say_why(pool: PgPool) {
    let t = app(pool).await;
    let wrong = login(&t, &Who::Nobody, EMAIL, "wrong password").await;
    let unknown = login(&t, &Who::Nobody, "eve@example.com", PASSWORD).await;
    sqlx::query("update users set disabled_at = now()")
        .execute(&t.pool)
        .await
        .unwrap();
    let disabled = login(&t, &Who::Nobody, EMAIL, PASSWORD).await;
    let same = |mut it: Answer| {
        assert!(it.cookie().is_none());
        it.json["requestId"] = Value::Null;
        (it.status, it.json)
    };
    let wrong = same(wrong);
    assert_eq!(
        (wrong.0, &wrong.1["code"]),
        (401, &json!("auth.bad_credentials"))
    );
    assert_eq!(same(unknown), wrong);
    assert_eq!(same(disabled), wrong);
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn malformed_sign_ins_are_refused_before_any_work(pool: PgPool) {
    let t = app(pool).await;
    let long = "x".repeat(1_000_000);
    for (email, password, status, code) in [
        (EMAIL, &long[..257], 422, "password.too_long"),
        (&long, PASSWORD, 422, "email.invalid"),
        ("ada\0@example.com", PASSWORD, 422, "email.invalid"),
        ("", "", 422, "email.invalid"),
    ] {
        let answer = login(&t, &Who::Nobody, email, password).await;
        assert_eq!(answer.refusal(), (status, code));
    }
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn guessing_is_slowed_down_by_account(pool: PgPool) {
    let rates = SignInRates {
        per_account: 3.try_into().unwrap(),
        ..SignInRates::DEFAULT
    };
    let t = TestApp::with_rates(pool, rates).await;
    let made = t.identity.ensure_admin(EMAIL, &Secret::new(PASSWORD)).await;
    assert!(made.unwrap());
    for _ in 0..3 {
        let answer = login(&t, &Who::Nobody, EMAIL, "a wrong guess").await;
        assert_eq!(answer.status, 401);
    }
    // Now even the right one is not looked at.
    let answer = login(&t, &Who::Nobody, EMAIL, PASSWORD).await;
    assert_eq!(answer.refusal(), (429, "auth.too_many_tries"));
    let wait: u64 = answer.headers[header::RETRY_AFTER]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!((1..=21).contains(&wait), "{wait}");
    let other = login(&t, &Who::Nobody, "eve@example.com", PASSWORD).await;
    assert_eq!(other.status, 401);
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn guessing_is_slowed_down_by_address(pool: PgPool) {
    let rates = SignInRates {
        per_address: 2.try_into().unwrap(),
        ..SignInRates::DEFAULT
    };
    let t = TestApp::with_rates(pool, rates).await;
    for (email, status) in [("a@b", 401), ("c@d", 401), ("e@f", 429)] {
        let answer = login(&t, &Who::Nobody, email, PASSWORD).await;
        assert_eq!(answer.status, status, "{email}");
    }
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn a_session_ends_after_thirty_days(pool: PgPool) {
    let t = TestApp::new(pool).await;
    let ada = t.person("Ada").await;
    let project = t.project(&ada).await;
    let instance = t.instance_row(project).await;
    let editor = t.editor_session(&ada, instance, Some(ada.session)).await;

    t.clock.advance(TimeDelta::days(30) - TimeDelta::seconds(1));
    assert!(is_in(&t, &ada.who).await);
    t.clock.advance(TimeDelta::seconds(1));
    let answer = t.get(ME, &ada.who).await;
    assert_eq!(answer.refusal(), (401, "auth.required"));
    assert!(answer.clears_cookie());

    assert!(!t.is_revoked(editor).await);
    let purge = Purge {
        identity: t.identity.clone(),
    };
    purge.run().await.unwrap();
    assert_eq!(t.count("select count(*) from sessions").await, 0);
    assert!(t.is_revoked(editor).await);
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn a_cookie_that_is_no_sessions_is_cleared(pool: PgPool) {
    let t = app(pool).await;
    for token in ["", "x", &"x".repeat(43), &"x".repeat(5000)] {
        let who = Who::Cookie(token.into());
        let answer = t.get(ME, &who).await;
        assert_eq!(answer.refusal(), (401, "auth.required"));
        assert!(answer.clears_cookie());
        // It is in nobody's way: the answer to a sign-in sets the new one.
        let answer = login(&t, &who, EMAIL, PASSWORD).await;
        assert_eq!(answer.headers.get_all(header::SET_COOKIE).iter().count(), 1);
        assert!(is_in(&t, &Who::Cookie(answer.cookie().unwrap())).await);
    }
    assert!(!t.get("/api/v1/setup", &Who::Nobody).await.clears_cookie());
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn people_see_and_end_their_own_sessions_only(pool: PgPool) {
    let t = TestApp::new(pool).await;
    let (ada, eve) = (t.person("Ada").await, t.person("Eve").await);
    let (other, other_who) = t.session(ada.id).await;
    let list = t.get("/api/v1/me/sessions", &ada.who).await.expect(200);
    let items = list["items"].as_array().unwrap();
    let current = |id: uuid::Uuid| {
        let it = items.iter().find(|it| it["id"] == id.to_string()).unwrap();
        it["current"].clone()
    };
    assert_eq!(items.len(), 2);
    assert_eq!(
        (current(ada.session), current(other)),
        (json!(true), json!(false))
    );

    let path = format!("/api/v1/me/sessions/{other}");
    let by_eve = t.call("DELETE", &path, &eve.who, Value::Null).await;
    assert_eq!(by_eve.refusal(), (404, "session.not_found"));
    assert!(is_in(&t, &other_who).await);
    t.call("DELETE", &path, &ada.who, Value::Null)
        .await
        .expect(204);
    assert!(!is_in(&t, &other_who).await);
    assert!(is_in(&t, &ada.who).await);
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn the_oldest_session_makes_room(pool: PgPool) {
    let t = app(pool).await;
    let answer = login(&t, &Who::Nobody, EMAIL, PASSWORD).await;
    let first = Who::Cookie(answer.cookie().unwrap());
    let me = t.get(ME, &first).await.expect(200);
    let id = me["id"].as_str().unwrap().parse().unwrap();
    t.clock.advance(TimeDelta::seconds(1));
    for _ in 0..49 {
        t.session(id).await;
    }
    assert!(is_in(&t, &first).await);
    login(&t, &Who::Nobody, EMAIL, PASSWORD).await.expect(204);
    assert_eq!(t.count("select count(*) from sessions").await, 50);
    assert!(!is_in(&t, &first).await);
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn a_new_password_ends_what_the_old_one_opened(pool: PgPool) {
    let t = app(pool).await;
    let answer = login(&t, &Who::Nobody, EMAIL, PASSWORD).await;
    let who = Who::Cookie(answer.cookie().unwrap());
    let me = t.get(ME, &who).await.expect(200);
    let sessions = t.get("/api/v1/me/sessions", &who).await.expect(200);
    let id = |it: &Value| it.as_str().unwrap().parse().unwrap();
    let ada = Person {
        id: id(&me["id"]),
        email: EMAIL.into(),
        session: id(&sessions["items"][0]["id"]),
        who,
    };
    let (other, other_who) = t.session(ada.id).await;
    let token = t.token(&ada, "write").await;
    let instance = t.instance_row(t.project(&ada).await).await;
    let own_editor = t.editor_session(&ada, instance, Some(ada.session)).await;
    let other_editor = t.editor_session(&ada, instance, Some(other)).await;
    let token_editor = t.editor_session(&ada, instance, None).await;
    t.launch(&ada, instance).await;

    let change = async |current: &str, new: &str| {
        let body = json!({"currentPassword": current, "newPassword": new});
        t.post("/api/v1/me/password", &ada.who, body).await
    };
    for (current, new, field, code) in [
        (
            "wrong password",
            "a whole new one",
            "currentPassword",
            "password.wrong",
        ),
        (PASSWORD, "short", "newPassword", "password.too_short"),
        (
            PASSWORD,
            "ada@EXAMPLE.com",
            "newPassword",
            "password.is_email",
        ),
        (
            &"x".repeat(257),
            "a whole new one",
            "currentPassword",
            "password.too_long",
        ),
    ] {
        let answer = change(current, new).await;
        assert_eq!(answer.refusal(), (422, code));
        assert!(answer.json["errors"][field].is_array(), "{}", answer.json);
    }
    assert!(is_in(&t, &other_who).await && is_in(&t, &token).await);

    change(PASSWORD, "a whole new one").await.expect(204);
    assert!(is_in(&t, &ada.who).await);
    assert!(!is_in(&t, &other_who).await);
    assert!(!is_in(&t, &token).await);
    assert!(!t.is_revoked(own_editor).await);
    assert!(t.is_revoked(other_editor).await);
    assert!(t.is_revoked(token_editor).await);
    assert_eq!(t.count("select count(*) from access_tokens").await, 0);
    let old = login(&t, &Who::Nobody, EMAIL, PASSWORD).await;
    assert_eq!(old.status, 401);
    login(&t, &Who::Nobody, EMAIL, "a whole new one")
        .await
        .expect(204);
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn without_the_database_nobody_is_let_in(pool: PgPool) {
    let t = TestApp::new(pool).await;
    let ada = t.admin("Ada").await;
    let token = t.token(&ada, "read").await;
    t.pool.close().await;
    for who in [&ada.who, &token] {
        let answer = t.get(ME, who).await;
        assert_eq!(answer.refusal(), (503, "database"));
        assert!(!answer.clears_cookie());
    }
    let answer = login(&t, &Who::Nobody, EMAIL, PASSWORD).await;
    assert_eq!(answer.status, 503);
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn a_sibling_subdomain_signs_nobody_in_or_out(pool: PgPool) {
    let t = app(pool).await;
    let evil = format!("http://evil.{HOST}");
    let body = json!({"email": EMAIL, "password": PASSWORD});
    for (path, body) in [(LOGIN, body), ("/api/v1/auth/logout", Value::Null)] {
        let answer = t
            .call_with("POST", path, &Who::Nobody, body, &[("origin", &evil)])
            .await;
        assert_eq!(answer.refusal(), (403, "request.cross_site"));
        assert!(answer.cookie().is_none());
    }
}
