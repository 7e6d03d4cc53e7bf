//! What a backup does not fit into is refused before anything is touched.
use std::{fs, sync::Arc};

use openflow_manager::{identity::SignInRates, runtime::FakeRuntime};
use serde_json::{Value, json};
use sqlx::PgPool;

use super::bench::{QUIET, WithBackups as _, path_of, quiet};
use crate::support::{TestApp, instances::Bench};

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

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn a_key_that_is_not_ours(pool: PgPool) {
    let bench = quiet(pool.clone()).await;
    let it = bench.running("shop").await;
    let id = bench.good(&it).await;
    let file = fs::read(bench.backup_folder(&it).join(&bench.files_of(&it)[0])).unwrap();
    let mut flags = QUIET.to_vec();
    let key = "--secret-keys=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    flags.push(key);
    let runtime = Arc::new(FakeRuntime::default());
    let other = TestApp::with(pool, SignInRates::DEFAULT, runtime, &flags).await;
    let answer = other
        .post(&path_of(id, "restore"), &bench.ada.who, Value::Null)
        .await;
    assert_eq!(answer.refusal(), (409, "backup.wrong_key"));
    let path = it.path("backups/upload");
    let (answer, _) = other.raw(("POST", &path), &bench.ada.who, &[], file).await;
    assert_eq!(answer.refusal(), (409, "backup.wrong_key"));
    let restores = bench.get(&it.path("restores")).await.expect(200);
    assert_eq!(restores["items"], json!([]));
}
