//! Managers that are killed, disks that are full, files that are gone.
use std::fs;

use openflow_manager::runtime::{Error, Op};
use serde_json::Value;
use sqlx::PgPool;
use uuid::Uuid;

use super::bench::{WithBackups as _, noise, path_of, quiet};
use crate::support::instances::{Bench, It, eventually};

/// A backup that a manager was making when it was killed, with what it leaves.
async fn left_behind(bench: &Bench, it: &It, trigger: &str) -> Uuid {
    let id = Uuid::now_v7();
    sqlx::query(
        "insert into backups (id, instance_id, project_id, instance_name, trigger, status, requested_by, engine, engine_version,
                              claimed_by, file_name, done_bytes, total_bytes, created_at, started_at)
         values ($1, $2, $3, 'shop', $4, 'running', 'x', 'node-red', '', $1, '20200101T000000Z.tar.gz', 1, 2, now(), now())",
    )
    .bind(id)
    .bind(it.id)
    .bind(bench.project)
    .bind(trigger)
    .execute(&bench.t.pool)
    .await
    .unwrap();
    let folder = bench.backup_folder(it);
    fs::create_dir_all(&folder).unwrap();
    // It got its name a moment before, or not yet.
    fs::write(folder.join("20200101T000000Z.tar.gz"), "whole?").unwrap();
    fs::write(folder.join("20200101T000001Z.tar.gz.partial"), "half").unwrap();
    fs::create_dir_all(bench.t.data.path().join(format!("backups/.spool-{id}"))).unwrap();
    id
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn what_a_killed_manager_was_making_has_failed(pool: PgPool) {
    let mut bench = quiet(pool).await;
    let it = bench.running("shop").await;
    bench.t.kill().await;
    let id = left_behind(&bench, &it, "manual").await;
    bench.t = bench.t.another().await;
    bench.t.run().await;
    let backup = bench.ended(id).await;
    assert_eq!(backup["status"], "failed");
    let why = backup["detail"].as_str().unwrap();
    assert!(why.contains("manager was stopped"), "{why}");
    assert_eq!(backup["progress"], Value::Null);
    eventually("its files are gone", async || {
        let spools = fs::read_dir(bench.t.data.path().join("backups")).unwrap();
        let spools = spools.filter(|it| {
            it.as_ref()
                .unwrap()
                .file_name()
                .to_str()
                .unwrap()
                .starts_with('.')
        });
        (bench.files_of(&it).is_empty() && spools.count() == 0).then_some(())
    })
    .await;
    let answer = bench.get(&path_of(id, "download")).await;
    assert_eq!(answer.refusal(), (409, "backup.nothing_in_it"));
    // The way is free.
    bench.good(&it).await;
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn a_scheduled_one_is_made_up_for(pool: PgPool) {
    let mut bench = quiet(pool).await;
    let it = bench.running("shop").await;
    bench.t.kill().await;
    let id = left_behind(&bench, &it, "schedule").await;
    bench.t = bench.t.another().await;
    bench.t.run().await;
    let backups = bench.until_backups(&it, 2).await;
    assert_eq!(backups[0]["status"], "good");
    assert_eq!(backups[1]["id"], id.to_string());
    assert_eq!(backups[1]["status"], "failed");
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn a_stopped_manager_puts_it_back_into_the_queue(pool: PgPool) {
    let mut bench = quiet(pool).await;
    let it = bench.running("shop").await;
    bench.write(&it, "noise", noise(32 << 20));
    let id = bench.ask_backup(&it).await;
    eventually("it has begun", async || {
        (bench.backup(id).await["status"] != "pending").then_some(())
    })
    .await;
    bench.kill_and_start_anew().await;
    assert_eq!(bench.ended(id).await["status"], "good");
    assert_eq!(bench.files_of(&it).len(), 1);
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn without_space_none_is_begun(pool: PgPool) {
    let flags = ["--backup-schedule=off", "--backup-min-free-mb=1000000000"];
    let bench = Bench::with_flags(pool, &flags).await;
    let it = bench.running("shop").await;
    let id = bench.ask_backup(&it).await;
    let backup = bench.ended(id).await;
    assert_eq!(backup["status"], "failed");
    let why = backup["detail"].as_str().unwrap();
    assert!(
        why.contains("OPENFLOW_BACKUP_MIN_FREE_MB") && why.contains("Free some"),
        "{why}"
    );
    assert_eq!(bench.runtime.count(Op::Pause, it.key()), 0);
    let path = it.path("backups/upload");
    let (answer, _) = bench
        .t
        .raw(("POST", &path), &bench.ada.who, &[], vec![1])
        .await;
    assert_eq!(answer.refusal(), (409, "backup.no_space"));
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn what_cannot_be_copied_makes_it_partial(pool: PgPool) {
    let bench = quiet(pool).await;
    let it = bench.running("shop").await;
    let socket = bench.folder(&it).join("socket");
    let _socket = std::os::unix::net::UnixListener::bind(socket).unwrap();
    let id = bench.ask_backup(&it).await;
    let backup = bench.ended(id).await;
    assert_eq!(backup["status"], "partial", "{backup:#}");
    assert_eq!(backup["skipped"][0]["path"], "socket");
    assert!(backup["detail"].as_str().unwrap().contains("left out"));
    let restore = bench.try_restore(id, Value::Null).await.expect(202);
    bench.is_done(&restore).await;
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn an_engine_that_does_not_freeze_it_does_not_hinder_it(pool: PgPool) {
    let bench = quiet(pool).await;
    let it = bench.running("shop").await;
    let away = Error::Unavailable("away".to_owned());
    bench.runtime.fail_instance(it.key(), Op::Pause, away);
    // Nothing changes meanwhile, so that it is whole all the same.
    let id = bench.good(&it).await;
    assert_eq!(bench.backup(id).await["freezeMs"], Value::Null);
    bench.runtime.heal();
    bench.until(&it, "running").await;
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn a_file_that_is_gone_is_found_at_the_next_start(pool: PgPool) {
    let mut bench = quiet(pool).await;
    let it = bench.running("shop").await;
    let id = bench.good(&it).await;
    let name = bench.files_of(&it).remove(0);
    fs::rename(
        bench.backup_folder(&it).join(name),
        bench.backup_folder(&it).join("20200101T000000Z.tar.gz"),
    )
    .unwrap();
    let answer = bench.try_restore(id, Value::Null).await;
    assert_eq!(answer.refusal(), (410, "backup.file_gone"));
    bench.kill_and_start_anew().await;
    eventually("it is said", async || {
        let backup = bench.backup(id).await;
        (backup["status"] == "failed" && backup["detail"].as_str()?.contains("gone")).then_some(())
    })
    .await;
    assert_eq!(bench.files_of(&it).len(), 1, "what nobody knows stays");
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn one_that_waits_for_a_deleted_instance_fails(pool: PgPool) {
    let mut bench = quiet(pool).await;
    let it = bench.running("shop").await;
    bench.t.kill().await;
    let id = bench.ask_backup(&it).await;
    bench
        .call("DELETE", &it.path(""), Value::Null)
        .await
        .expect(202);
    bench.t = bench.t.another().await;
    bench.t.run().await;
    let backup = bench.ended(id).await;
    assert_eq!(backup["status"], "failed");
    assert!(backup["detail"].as_str().unwrap().contains("deleted"));
    bench.until_gone(&it).await;
    assert!(bench.files_of(&it).is_empty());
}
