//! What a backup does not fit into is refused before anything is touched.
use base64::{Engine as _, prelude::BASE64_STANDARD};
use openflow_manager::crypto::KeyRing;
use serde_json::{Value, json};
use sqlx::PgPool;

use super::bench::{WithBackups as _, archive_saying, quiet};
use crate::support::instances::Bench;

async fn sql(bench: &Bench, sql: &'static str) {
    sqlx::query(sql).execute(&bench.t.pool).await.unwrap();
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn another_engine_or_an_older_version(pool: PgPool) {
    let bench = quiet(pool).await;
    let it = bench.running("shop").await;
    sql(&bench, "update stacks set version = '5.0.7'").await;
    let id = bench.good(&it).await;
    assert_eq!(bench.backup(id).await["engineVersion"], "5.0.7");
    let new = json!({"newInstance": {"name": "New", "subdomain": "new"}});
    let refused = async |code| {
        for body in [Value::Null, new.clone()] {
            let answer = bench.try_restore(id, body.clone()).await;
            assert_eq!(answer.refusal(), (409, code), "{body}");
        }
    };
    sql(&bench, "update stacks set version = '4.10.2'").await;
    refused("backup.newer_engine").await;
    sql(&bench, "update stacks set version = '5.0.7'").await;
    sql(
        &bench,
        "update backups set about = jsonb_set(about, '{engine}', '\"n8n\"')",
    )
    .await;
    refused("backup.other_engine").await;
    let restores = bench.get(&it.path("restores")).await.expect(200);
    assert_eq!(restores["items"], json!([]));
    let all = bench.get(&bench.instances_path()).await.expect(200);
    assert_eq!(all["items"].as_array().unwrap().len(), 1);
}

/// The archive's credentials are sealed with a key of somebody else's.
#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn a_key_that_is_not_ours(pool: PgPool) {
    let bench = quiet(pool).await;
    let it = bench.running("shop").await;
    let id = bench.good(&it).await;
    let mut about: Value = sqlx::query_scalar("select about from backups where id = $1")
        .bind(id)
        .fetch_one(&bench.t.pool)
        .await
        .unwrap();
    let theirs = KeyRing::parse("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA").unwrap();
    let place = format!("backups/{id}/credential_secret");
    let sealed = BASE64_STANDARD.encode(theirs.seal(&place, b"secret"));
    about["credentialSecret"] = json!(sealed);
    sqlx::query("update backups set about = $1")
        .bind(&about)
        .execute(&bench.t.pool)
        .await
        .unwrap();
    let new = json!({"newInstance": {"name": "New", "subdomain": "new"}});
    for body in [Value::Null, new] {
        let answer = bench.try_restore(id, body).await;
        assert_eq!(answer.refusal(), (409, "backup.wrong_key"));
    }
    let file = archive_saying(&about);
    let path = it.path("backups/upload");
    let call = ("POST", &*path);
    let (answer, _) = bench.t.raw(call, &bench.ada.who, &[], file).await;
    assert_eq!(answer.refusal(), (409, "backup.wrong_key"));
    let restores = bench.get(&it.path("restores")).await.expect(200);
    assert_eq!(restores["items"], json!([]));
    let all = bench.get(&bench.instances_path()).await.expect(200);
    assert_eq!(all["items"].as_array().unwrap().len(), 1);
    assert_eq!(bench.files_of(&it).len(), 1);
}
