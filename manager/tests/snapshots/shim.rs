//! What the editor's button asks, as the shim.
use serde_json::{Value, json};
use sqlx::PgPool;
use uuid::Uuid;

use crate::{
    flows::{deploy, flows, found, list, over, password, take},
    support::{
        Answer, Who,
        instances::{Bench, It},
    },
};

pub(crate) async fn shim(bench: &Bench, it: &It, method: &str, path: &str, body: Value) -> Answer {
    let magic = bench.env_of(it, "OPENFLOW_MAGIC_TOKEN").unwrap();
    let path = format!("/shim/v1/{path}");
    bench.t.call(method, &path, &Who::Bearer(magic), body).await
}

fn by(person: Uuid) -> Value {
    json!({"person": {"userId": person}})
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn the_editor_takes_lists_and_rolls_back(pool: PgPool) {
    let bench = Bench::new(pool).await;
    let it = bench.running("wf1").await;
    deploy(&bench, &it, &flows("a"), &password("one"));
    let mut body = by(bench.ada.id);
    body["name"] = json!("from the editor");
    let taken = shim(&bench, &it, "POST", "snapshots", body)
        .await
        .expect(201);
    assert_eq!(
        (&taken["name"], &taken["author"]),
        (&json!("from the editor"), &json!("Ada"))
    );
    let listed = shim(&bench, &it, "GET", "snapshots?limit=10", Value::Null)
        .await
        .expect(200);
    let item = &listed["items"][0];
    for field in ["id", "kind", "name", "author", "nodes"] {
        assert_eq!(item[field], taken[field], "{field}");
    }
    assert!(item["createdAt"].is_string());
    deploy(&bench, &it, &flows("b"), &password("two"));
    let path = format!("snapshots/{}/restore", taken["id"].as_str().unwrap());
    let begun = shim(&bench, &it, "POST", &path, by(bench.ada.id))
        .await
        .expect(202);
    over(&bench, &begun).await;
    let path = format!("restores/{}", begun["id"].as_str().unwrap());
    let seen = shim(&bench, &it, "GET", &path, Value::Null)
        .await
        .expect(200);
    assert_eq!(
        seen,
        json!({"id": begun["id"], "state": "done", "detail": null})
    );
    assert_eq!(found(&bench, &it), (flows("a"), password("one")));
    let audit = bench
        .get("/api/v1/audit?action=snapshot.create")
        .await
        .expect(200);
    let lines = audit["items"].as_array().unwrap();
    assert!(lines.iter().any(|it| it["detail"]["via"] == "editor"));
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn only_a_member_and_only_the_instances_own_snapshots(pool: PgPool) {
    let bench = Bench::new(pool).await;
    let (it, other) = (bench.running("wf1").await, bench.running("wf2").await);
    let (own, theirs) = (
        take(&bench, &it, "own").await,
        take(&bench, &other, "theirs").await,
    );
    let (viewer, stranger) = (bench.t.person("Vi").await, bench.t.person("Sam").await);
    bench.t.add_member(bench.project, &viewer, "viewer").await;
    let gone = bench.t.person("Gone").await;
    bench.t.add_member(bench.project, &gone, "member").await;
    sqlx::query("update users set disabled_at = now() where id = $1")
        .bind(gone.id)
        .execute(&bench.t.pool)
        .await
        .unwrap();
    let restore = |it: &Value| format!("snapshots/{}/restore", it["id"].as_str().unwrap());
    for person in [viewer.id, stranger.id, gone.id, Uuid::now_v7()] {
        for path in ["snapshots", &restore(&own)] {
            let answer = shim(&bench, &it, "POST", path, by(person)).await;
            assert_eq!(answer.refusal(), (403, "snapshot.not_a_member"), "{path}");
        }
    }
    let answer = shim(&bench, &it, "POST", &restore(&theirs), by(bench.ada.id)).await;
    assert_eq!(answer.refusal(), (404, "snapshot.not_found"));
    let begun = crate::flows::restore(&bench, &theirs, Value::Null)
        .await
        .expect(202);
    let path = format!("restores/{}", begun["id"].as_str().unwrap());
    let answer = shim(&bench, &it, "GET", &path, Value::Null).await;
    assert_eq!(answer.refusal(), (404, "restore.not_found"));
    over(&bench, &begun).await;

    for (method, path) in [
        ("POST", "deployed"),
        ("GET", "snapshots"),
        ("POST", "snapshots"),
        ("POST", &*restore(&own)),
        ("GET", &*path),
    ] {
        for who in [
            Who::Nobody,
            Who::Bearer("x".repeat(43)),
            bench.ada.who.clone(),
        ] {
            let body = if method == "GET" {
                Value::Null
            } else {
                by(bench.ada.id)
            };
            let answer = bench
                .t
                .call(method, &format!("/shim/v1/{path}"), &who, body)
                .await;
            assert_eq!(
                answer.refusal(),
                (401, "auth.wrong_secret"),
                "{method} {path}"
            );
        }
    }
    assert_eq!(list(&bench, &it, "").await.len(), 1);
}
