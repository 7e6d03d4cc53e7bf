//! From a launch to an editor session.
use chrono::TimeDelta;
use futures_util::future::join_all;
use openflow_manager::crypto::sha256;
use serde_json::{Value, json};
use sqlx::PgPool;
use url::Url;

use crate::support::{
    Answer, Person, Who,
    instances::{Bench, It},
};

/// The token in the link that the person gets.
async fn launch(bench: &Bench, it: &It, who: &Who) -> String {
    let launch = bench
        .t
        .post(&it.path("launch"), who, Value::Null)
        .await
        .expect(200);
    let url: Url = launch["url"].as_str().unwrap().parse().unwrap();
    let token = url.query_pairs().find(|(name, _)| name == "access_token");
    token.unwrap().1.into_owned()
}

async fn redeem(bench: &Bench, it: &It, token: &str) -> Answer {
    let secret = bench.t.settings.secrets.proxy.expose().to_owned();
    redeem_as(bench, it, token, &secret).await
}

async fn redeem_as(bench: &Bench, it: &It, token: &str, secret: &str) -> Answer {
    let body = json!({"instanceId": it.id, "token": token});
    let headers = [("x-openflow-proxy-secret", secret)];
    bench
        .t
        .call_with("POST", "/internal/v1/redeem", &Who::Nobody, body, &headers)
        .await
}

/// As the shim, which shows a magic token.
async fn shim_redeem(bench: &Bench, magic: &str, token: &str) -> Answer {
    let who = Who::Bearer(magic.to_owned());
    bench
        .t
        .post("/shim/v1/redeem", &who, json!({"token": token}))
        .await
}

const GONE: (u16, &str) = (410, "access_token.not_redeemable");

async fn member(bench: &Bench, role: &str) -> Person {
    let person = bench.t.person(role).await;
    bench.t.add_member(bench.project, &person, role).await;
    person
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn a_launch_becomes_an_editor_session_once(pool: PgPool) {
    let bench = Bench::new(pool).await;
    let it = bench.running("wf1").await;
    let body = json!({"next": "/red/flow?x=1"});
    let view = bench.post(&it.path("launch"), body).await.expect(200);
    assert_eq!(view["instanceId"], json!(it.id));
    let url = view["url"].as_str().unwrap();
    let (front, token) = url.split_once("access_token=").unwrap();
    assert_eq!(front, "http://wf1.localhost:8080/red/flow?x=1&");
    let expires: chrono::DateTime<chrono::Utc> =
        view["expiresAt"].as_str().unwrap().parse().unwrap();
    let life = expires - openflow_manager::kernel::Clock::now(&*bench.t.clock);
    assert!(TimeDelta::zero() < life && life <= TimeDelta::minutes(1));

    let stored: Vec<Vec<u8>> = sqlx::query_scalar("select token_hash from access_tokens")
        .fetch_all(&bench.t.pool)
        .await
        .unwrap();
    assert_eq!(stored, [sha256(token)]);
    let session = redeem(&bench, &it, token).await.expect(200);
    assert_eq!(session["userId"], json!(bench.ada.id));
    assert_eq!(session["name"], "Ada");
    assert_eq!(session["role"], "owner");
    assert!(session["sessionId"].is_string() && session["expiresAt"].is_string());
    assert_eq!(redeem(&bench, &it, token).await.refusal(), GONE);
    assert_eq!(bench.t.count("select count(*) from access_tokens").await, 0);
    assert_eq!(bench.audited(&it).await, ["instance.create", "editor.open"]);
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn of_a_hundred_redeemers_one_wins(pool: PgPool) {
    let bench = Bench::new(pool).await;
    let it = bench.running("wf1").await;
    let token = launch(&bench, &it, &bench.ada.who).await;
    let answers = join_all((0..100).map(|_| redeem(&bench, &it, &token))).await;
    let won = answers.iter().filter(|it| it.status == 200).count();
    assert_eq!(won, 1);
    assert!(
        answers
            .iter()
            .all(|it| it.status == 200 || it.refusal() == GONE)
    );
    assert_eq!(
        bench.t.count("select count(*) from editor_sessions").await,
        1
    );
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn the_role_of_the_session_is_the_persons(pool: PgPool) {
    let bench = Bench::new(pool).await;
    let it = bench.running("wf1").await;
    for role in ["viewer", "member", "owner"] {
        let person = member(&bench, role).await;
        let token = launch(&bench, &it, &person.who).await;
        let session = redeem(&bench, &it, &token).await.expect(200);
        assert_eq!(
            (&session["role"], &session["name"]),
            (&json!(role), &json!(role))
        );
    }
    let root = bench.t.admin("Root").await;
    let token = launch(&bench, &it, &root.who).await;
    assert_eq!(
        redeem(&bench, &it, &token).await.expect(200)["role"],
        "owner"
    );
    // By alias, too.
    bench
        .post(&it.path("aliases"), json!({"name": "shop"}))
        .await
        .expect(201);
    for name in ["wf1", "shop"] {
        let body = json!({"subdomain": name});
        let launch = bench.post("/api/v1/launch", body).await.expect(200);
        assert_eq!(launch["instanceId"], json!(it.id));
    }
    let unknown = bench
        .post("/api/v1/launch", json!({"subdomain": "nobody"}))
        .await;
    assert_eq!(unknown.refusal(), (404, "instance.not_found"));
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn the_ways_a_token_is_not_redeemed(pool: PgPool) {
    let bench = Bench::new(pool).await;
    let (it, other) = (bench.running("wf1").await, bench.running("wf2").await);
    let who = &bench.ada.who;

    let expired = launch(&bench, &it, who).await;
    bench.t.clock.advance(TimeDelta::seconds(61));
    assert_eq!(redeem(&bench, &it, &expired).await.refusal(), GONE);

    let foreign = launch(&bench, &other, who).await;
    assert_eq!(redeem(&bench, &it, &foreign).await.refusal(), GONE);

    for nonsense in ["", "x", "ofp_x", &"x".repeat(100_000)] {
        assert_eq!(redeem(&bench, &it, nonsense).await.refusal(), GONE);
    }

    let token = launch(&bench, &it, who).await;
    for wrong in ["", "wrong", "x".repeat(10_000).as_str()] {
        let answer = redeem_as(&bench, &it, &token, wrong).await;
        assert_eq!(answer.refusal(), (401, "auth.wrong_secret"));
    }
    // A session of the dashboard is no way around the secret.
    let body = json!({"instanceId": it.id, "token": token});
    let answer = bench.post("/internal/v1/redeem", body).await;
    assert_eq!(answer.refusal(), (401, "auth.wrong_secret"));

    let body = json!({"instanceId": "x"});
    let secret = bench.t.settings.secrets.proxy.expose();
    let answer = bench
        .t
        .call_with(
            "POST",
            "/internal/v1/redeem",
            &Who::Nobody,
            body,
            &[("x-openflow-proxy-secret", secret)],
        )
        .await;
    assert_eq!(answer.refusal(), (422, "request.malformed"));
    // None of all that used it up.
    redeem(&bench, &it, &token).await.expect(200);

    let token = launch(&bench, &other, who).await;
    bench
        .call("DELETE", &other.path(""), Value::Null)
        .await
        .expect(202);
    assert_eq!(redeem(&bench, &other, &token).await.refusal(), GONE);
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn who_lost_the_right_in_between_does_not_get_in(pool: PgPool) {
    let bench = Bench::new(pool).await;
    let it = bench.running("wf1").await;
    let root = bench.t.admin("Root").await;

    let removed = member(&bench, "member").await;
    let token = launch(&bench, &it, &removed.who).await;
    let path = format!("/api/v1/projects/{}/members/{}", bench.project, removed.id);
    bench.call("DELETE", &path, Value::Null).await.expect(204);
    assert_eq!(redeem(&bench, &it, &token).await.refusal(), GONE);

    let disabled = member(&bench, "member").await;
    let token = launch(&bench, &it, &disabled.who).await;
    let path = format!("/api/v1/users/{}", disabled.id);
    let body = json!({"disabled": true});
    bench
        .t
        .call("PATCH", &path, &root.who, body)
        .await
        .expect(200);
    assert_eq!(redeem(&bench, &it, &token).await.refusal(), GONE);

    let signed_out = member(&bench, "member").await;
    let token = launch(&bench, &it, &signed_out.who).await;
    bench
        .t
        .post("/api/v1/auth/logout", &signed_out.who, Value::Null)
        .await
        .expect(204);
    assert_eq!(redeem(&bench, &it, &token).await.refusal(), GONE);

    let demoted = member(&bench, "owner").await;
    let token = launch(&bench, &it, &demoted.who).await;
    let path = format!("/api/v1/projects/{}/members/{}", bench.project, demoted.id);
    bench
        .call("PUT", &path, json!({"role": "viewer"}))
        .await
        .expect(200);
    let session = redeem(&bench, &it, &token).await.expect(200);
    assert_eq!(session["role"], "viewer");
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn a_shim_redeems_with_its_magic_token(pool: PgPool) {
    let bench = Bench::new(pool).await;
    let (it, other) = (bench.running("wf1").await, bench.running("wf2").await);
    let magic = bench.env_of(&it, "OPENFLOW_MAGIC_TOKEN").unwrap();
    let others = bench.env_of(&other, "OPENFLOW_MAGIC_TOKEN").unwrap();
    assert_ne!(magic, others);
    let token = launch(&bench, &it, &bench.ada.who).await;
    for wrong in ["wrong".to_owned(), String::new(), "x".repeat(10_000)] {
        let answer = shim_redeem(&bench, &wrong, &token).await;
        assert_eq!(answer.refusal(), (401, "auth.wrong_secret"));
    }
    let body = json!({"token": token});
    let answer = bench.t.post("/shim/v1/redeem", &Who::Nobody, body).await;
    assert_eq!(answer.refusal(), (401, "auth.wrong_secret"));
    // Another tenant's instance cannot use the link.
    assert_eq!(shim_redeem(&bench, &others, &token).await.refusal(), GONE);
    let session = shim_redeem(&bench, &magic, &token).await.expect(200);
    assert_eq!(session["userId"], json!(bench.ada.id));
    assert_eq!(
        (&session["name"], &session["role"]),
        (&json!("Ada"), &json!("owner"))
    );
    assert_eq!(shim_redeem(&bench, &magic, &token).await.refusal(), GONE);
    // The magic token opens nothing else.
    let answer = bench.t.get(&it.path(""), &Who::Bearer(magic.clone())).await;
    assert_eq!(answer.status, 401);

    bench
        .call("DELETE", &it.path(""), Value::Null)
        .await
        .expect(202);
    bench.until_gone(&it).await;
    let answer = shim_redeem(&bench, &magic, &token).await;
    assert_eq!(answer.refusal(), (401, "auth.wrong_secret"));
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn signing_out_ends_the_sessions_editors(pool: PgPool) {
    let bench = Bench::new(pool).await;
    let it = bench.running("wf1").await;
    let (_, elsewhere) = bench.t.session(bench.ada.id).await;
    let here = launch(&bench, &it, &bench.ada.who).await;
    let there = launch(&bench, &it, &elsewhere).await;
    let by_program = bench.t.token(&bench.ada, "write").await;
    let program = launch(&bench, &it, &by_program).await;
    let mut sessions = Vec::new();
    for token in [here, there, program] {
        sessions.push(redeem(&bench, &it, &token).await.expect(200)["sessionId"].clone());
    }
    assert_eq!(bench.feed().await["access"]["revokedSessions"], json!([]));
    bench
        .t
        .post("/api/v1/auth/logout", &elsewhere, Value::Null)
        .await
        .expect(204);
    let revoked = bench
        .until_feed("the proxy is told", |feed| {
            feed["access"]["revokedSessions"] != json!([])
        })
        .await;
    assert_eq!(revoked["access"]["revokedSessions"], json!([sessions[1]]));
}
