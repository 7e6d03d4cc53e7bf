use chrono::TimeDelta;
use openflow_manager::kernel::Clock as _;
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::support::{Answer, TestApp, Who};

const TOKENS: &str = "/api/v1/me/tokens";
const ME: &str = "/api/v1/auth/me";

fn bearer(made: &Value) -> Who {
    Who::Bearer(made["token"].as_str().unwrap().to_owned())
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn a_token_lives_from_minting_to_revoking(pool: PgPool) {
    let t = TestApp::new(pool).await;
    let (ada, eve) = (t.person("Ada").await, t.person("Eve").await);
    let body = json!({"name": "ci", "scopes": ["write", "read", "read"]});
    let made = t.post(TOKENS, &ada.who, body).await.expect(201);
    let token = made["token"].as_str().unwrap();
    assert_eq!((token.len(), &token[..4]), (47, "ofp_"));

    assert_eq!(t.get(ME, &bearer(&made)).await.expect(200)["name"], "Ada");
    let lower = [("authorization", &*format!("bearer {token}"))];
    let answer = t
        .call_with("GET", ME, &Who::Nobody, Value::Null, &lower)
        .await;
    assert_eq!(answer.status, 200);

    let list = t.get(TOKENS, &ada.who).await.expect(200);
    let item = &list["items"][0];
    assert_eq!(item["scopes"], json!(["read", "write"]));
    assert_eq!(
        (&item["id"], &item["expiresAt"]),
        (&made["id"], &Value::Null)
    );
    assert!(!list.to_string().contains(&token[4..]), "shown once only");

    let path = format!("{TOKENS}/{}", made["id"].as_str().unwrap());
    let by_eve = t.call("DELETE", &path, &eve.who, Value::Null).await;
    assert_eq!(by_eve.refusal(), (404, "token.not_found"));
    t.call("DELETE", &path, &ada.who, Value::Null)
        .await
        .expect(204);
    let answer = t.get(ME, &bearer(&made)).await;
    assert_eq!(answer.refusal(), (401, "token.invalid"));
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn credentials_that_are_not_a_live_token_are_refused(pool: PgPool) {
    let t = TestApp::new(pool).await;
    let ada = t.person("Ada").await;
    let Who::Cookie(session) = &ada.who else {
        panic!()
    };
    for value in [
        "Bearer ofp_short".to_owned(),
        format!("Bearer ofp_{}", "x".repeat(43)),
        format!("Bearer {session}"),
        format!("Bearer ofp_{session}"),
        "Basic YWRhOnB3".into(),
        "Bearer".into(),
        String::new(),
    ] {
        // Even beside a good cookie, and where nobody need sign in.
        for path in [ME, "/api/v1/setup"] {
            let header = [("authorization", &*value)];
            let answer = t
                .call_with("GET", path, &ada.who, Value::Null, &header)
                .await;
            assert_eq!(answer.refusal(), (401, "token.invalid"), "{value}");
        }
    }
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn a_token_expires(pool: PgPool) {
    let t = TestApp::new(pool).await;
    let ada = t.person("Ada").await;
    let expires = t.clock.now() + TimeDelta::hours(1);
    let body = json!({"name": "ci", "scopes": ["read"], "expiresAt": expires});
    let made = t.post(TOKENS, &ada.who, body).await.expect(201);
    t.clock.advance(TimeDelta::minutes(59));
    t.get(ME, &bearer(&made)).await.expect(200);
    t.clock.advance(TimeDelta::minutes(1));
    let answer = t.get(ME, &bearer(&made)).await;
    assert_eq!(answer.refusal(), (401, "token.invalid"));
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn a_read_token_changes_nothing_and_a_write_token_reads(pool: PgPool) {
    let t = TestApp::new(pool).await;
    let ada = t.person("Ada").await;
    let (read, write) = (t.token(&ada, "read").await, t.token(&ada, "write").await);
    t.get("/api/v1/projects", &read).await.expect(200);
    t.get("/api/v1/projects", &write).await.expect(200);
    let create = async |who| t.post("/api/v1/projects", who, json!({"name": "P"})).await;
    assert_eq!(create(&read).await.refusal(), (403, "token.read_only"));
    assert_eq!(create(&write).await.status, 201);
    assert_eq!(t.count("select count(*) from projects").await, 1);
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn the_ways_a_token_is_not_minted(pool: PgPool) {
    let t = TestApp::new(pool).await;
    let ada = t.person("Ada").await;
    let (now, hour) = (t.clock.now(), TimeDelta::hours(1));
    let body = json!({"name": "short", "scopes": ["write"], "expiresAt": now + hour});
    let short = bearer(&t.post(TOKENS, &ada.who, body).await.expect(201));
    let read = t.token(&ada, "read").await;

    let ok = json!({"name": "ci", "scopes": ["read"]});
    for (who, body, status, code) in [
        (&Who::Nobody, ok.clone(), 401, "auth.required"),
        (&read, ok.clone(), 403, "token.read_only"),
        (
            &ada.who,
            json!({"name": "", "scopes": ["read"]}),
            422,
            "name.invalid",
        ),
        (
            &ada.who,
            json!({"name": "ci", "scopes": []}),
            422,
            "token.no_scopes",
        ),
        (
            &ada.who,
            json!({"name": "ci", "scopes": ["root"]}),
            422,
            "request.malformed",
        ),
        (
            &ada.who,
            json!({"name": "ci", "scopes": ["read"], "expiresAt": now}),
            422,
            "token.expiry_past",
        ),
        (
            &short,
            json!({"name": "ci", "scopes": ["read"], "expiresAt": now + hour + hour}),
            422,
            "token.outlives",
        ),
    ] {
        let answer = t.post(TOKENS, who, body.clone()).await;
        assert_eq!(answer.refusal(), (status, code), "{body}");
    }
    // What a token makes ends with it.
    let made = t.post(TOKENS, &short, ok).await.expect(201);
    t.get(ME, &bearer(&made)).await.expect(200);
    t.clock.advance(hour);
    assert_eq!(t.get(ME, &bearer(&made)).await.status, 401);
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn nobody_has_more_than_fifty_tokens(pool: PgPool) {
    let t = TestApp::new(pool).await;
    let ada = t.person("Ada").await;
    for _ in 0..49 {
        t.token(&ada, "read").await;
    }
    let mint = async || -> Answer {
        let body = json!({"name": "one more", "scopes": ["read"]});
        t.post(TOKENS, &ada.who, body).await
    };
    let (a, b) = tokio::join!(mint(), mint());
    let mut answers = [a.refusal(), b.refusal()];
    answers.sort_unstable();
    assert_eq!(answers, [(201, ""), (403, "token.too_many")]);
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn the_last_use_is_noted_to_the_minute(pool: PgPool) {
    let t = TestApp::new(pool).await;
    let ada = t.person("Ada").await;
    let token = t.token(&ada, "read").await;
    let used = async || t.get(TOKENS, &ada.who).await.expect(200)["items"][0]["lastUsedAt"].clone();
    let settles_to = async |expected: Value| {
        // It is written beside the request: wait for it, 10 s at the most.
        for _ in 0..200 {
            if used().await == expected {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        panic!("lastUsedAt is {}, not {expected}", used().await);
    };
    assert_eq!(used().await, Value::Null);
    let first = json!(t.clock.now());
    t.get(ME, &token).await.expect(200);
    settles_to(first.clone()).await;

    t.clock.advance(TimeDelta::seconds(59));
    t.get(ME, &token).await.expect(200);
    t.clock.advance(TimeDelta::seconds(1));
    let second = json!(t.clock.now());
    t.get(ME, &token).await.expect(200);
    settles_to(second).await;
}
