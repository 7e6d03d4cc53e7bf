//! The database does not take what came of something: it is noted later, by the
//! same manager, as it was.
use std::{
    fs,
    sync::{Arc, atomic::Ordering::SeqCst},
};

use openflow_manager::{identity::SignInRates, runtime::Ended};
use serde_json::Value;
use sqlx::PgPool;
use uuid::Uuid;

use super::{
    bench::{QUIET, WithBackups as _, path_of, quiet},
    offsite::{bench as bench_with, until_copied},
};
use crate::{
    s3::{self, Relay as Wire},
    support::{
        TestApp,
        instances::{Bench, eventually},
        relay::Relay,
    },
};

/// Until [`relent`], such changes of backups are refused; what a row was is
/// `old`, what it shall be `new`.
async fn refuse(pool: &PgPool, changes: &str) {
    // A sequence counts also what is rolled back.
    let sql = format!(
        "create sequence refused;
         create function refuse() returns trigger language plpgsql as
           $$ begin perform nextval('refused'); raise exception 'not now'; end $$;
         create trigger refuse before update on backups for each row when ({changes}) execute function refuse();"
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql))
        .execute(pool)
        .await
        .unwrap();
}

async fn until_refused(pool: &PgPool) {
    eventually("it was refused", async || {
        let refused = sqlx::query_scalar("select is_called from refused");
        let refused: bool = refused.fetch_one(pool).await.unwrap();
        refused.then_some(())
    })
    .await;
}

async fn relent(pool: &PgPool) {
    sqlx::raw_sql("drop trigger refuse on backups")
        .execute(pool)
        .await
        .unwrap();
}

async fn verified(bench: &Bench, id: Uuid) -> Value {
    eventually("it is verified", async || {
        let it = bench.backup(id).await;
        let status = it["verification"]["status"].as_str().unwrap();
        ["good", "failed"].contains(&status).then_some(it)
    })
    .await
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn a_whole_backup_is_good_once_the_database_takes_it(pool: PgPool) {
    let bench = quiet(pool.clone()).await;
    let it = bench.running("shop").await;
    refuse(&pool, "old.status = 'running' and new.status <> 'running'").await;
    let id = bench.ask_backup(&it).await;
    until_refused(&pool).await;
    assert_eq!(bench.backup(id).await["status"], "running");
    let files = bench.files_of(&it);
    assert!(files[0].ends_with("Z.tar.gz"), "{files:?}");
    relent(&pool).await;
    let backup = bench.ended(id).await;
    assert_eq!(backup["status"], "good", "{backup:#}");
    assert_eq!(bench.files_of(&it), files);
    // The way is free.
    let restore = bench.try_restore(id, Value::Null).await.expect(202);
    bench.is_done(&restore).await;
    bench.good(&it).await;
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn one_that_failed_has_failed_once_the_database_takes_it(pool: PgPool) {
    let flags = ["--backup-schedule=off", "--backup-min-free-mb=1000000000"];
    let bench = Bench::with_flags(pool.clone(), &flags).await;
    let it = bench.running("shop").await;
    refuse(&pool, "old.status = 'running' and new.status <> 'running'").await;
    let id = bench.ask_backup(&it).await;
    until_refused(&pool).await;
    relent(&pool).await;
    let backup = bench.ended(id).await;
    assert_eq!(backup["status"], "failed");
    assert!(backup["detail"].as_str().unwrap().contains("Free some"));
    let lines = "select count(*) from audit_log where action = 'backup.failed'";
    assert_eq!(bench.t.count(lines).await, 1);
}

/// The leader loses its lease with its connection, and takes it again.
#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn a_database_that_was_away_costs_no_archive(pool: PgPool) {
    let relay = Relay::to(&pool).await;
    let mut t = TestApp::with(
        relay.pool(&pool),
        SignInRates::DEFAULT,
        Arc::default(),
        &QUIET,
    )
    .await;
    // The test itself looks past the relay.
    t.pool = pool.clone();
    let bench = Bench::of(t).await;
    let it = bench.running("shop").await;
    refuse(&pool, "old.status = 'running' and new.status <> 'running'").await;
    let id = bench.ask_backup(&it).await;
    until_refused(&pool).await;
    let files = bench.files_of(&it);
    relay.cut().await;
    // Nobody holds the lease any more.
    eventually("the leader is gone", async || {
        let locks = "select count(*) from pg_locks where locktype = 'advisory' and database = (select oid from pg_database where datname = current_database())";
        (bench.t.count(locks).await == 0).then_some(())
    })
    .await;
    relent(&pool).await;
    relay.mend().await;
    let backup = eventually("the backup is over", async || {
        let answer = bench.get(&path_of(id, "")).await;
        let open = ["pending", "running"].contains(&answer.json["status"].as_str()?);
        (!open).then_some(answer.json)
    })
    .await;
    assert_eq!(backup["status"], "good", "{backup:#}");
    assert_eq!(bench.files_of(&it), files);
    assert_eq!(bench.backups_of(&it).await.len(), 1);
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn a_verification_ends_once_the_database_takes_it(pool: PgPool) {
    let bench = quiet(pool.clone()).await;
    let it = bench.running("shop").await;
    let id = bench.good(&it).await;
    let ends = "old.verification_status = 'running' and new.verification_status <> 'running'";
    refuse(&pool, ends).await;
    bench.runtime.set_rehearsals(|_| {
        Ok(Ended {
            exit_code: Some(1),
            stdout: r#"{"ok":false,"checks":[{"name":"flows","ok":false,"detail":"none"}]}"#.into(),
            ..Ended::default()
        })
    });
    let asked = bench.post(&path_of(id, "verify"), Value::Null).await;
    asked.expect(202);
    until_refused(&pool).await;
    assert_eq!(bench.backup(id).await["verification"]["status"], "running");
    relent(&pool).await;
    let verification = verified(&bench, id).await["verification"].clone();
    assert_eq!(verification["status"], "failed");
    assert_eq!(verification["detail"], "flows: none");
    assert_eq!(bench.runtime.rehearsals().len(), 1, "it is not done again");
    let lines = "select count(*) from audit_log where action = 'backup.not_verified'";
    assert_eq!(bench.t.count(lines).await, 1);
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn a_verification_that_falls_over_is_over(pool: PgPool) {
    let bench = quiet(pool).await;
    let it = bench.running("shop").await;
    let id = bench.good(&it).await;
    bench.runtime.set_rehearsals(|_| panic!("on purpose"));
    let asked = bench.post(&path_of(id, "verify"), Value::Null).await;
    asked.expect(202);
    let verification = verified(&bench, id).await["verification"].clone();
    assert_eq!(verification["status"], "good", "it was read back");
    let detail = verification["detail"].as_str().unwrap();
    assert!(detail.contains("Something went wrong"), "{detail}");
    bench.good(&it).await;
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn a_copy_is_done_once_the_database_takes_it_and_is_not_sent_again(pool: PgPool) {
    let bucket = s3::Bucket::new().await;
    let wire = Wire::cut_after(u64::MAX).await;
    let endpoint = format!("--offsite-endpoint=http://{}", wire.address);
    let bench = bench_with(pool.clone(), &bucket, &[&endpoint]).await;
    let it = bench.running("shop").await;
    bench.write(&it, "noise", super::bench::noise(4 << 20));
    let ends = "old.offsite_status = 'uploading' and new.offsite_status <> 'uploading'";
    refuse(&pool, ends).await;
    let id = bench.good(&it).await;
    until_refused(&pool).await;
    relent(&pool).await;
    until_copied(&bench, id, "done").await;
    let path = bench.backup_folder(&it).join(&bench.files_of(&it)[0]);
    let size = fs::metadata(path).unwrap().len();
    assert!(
        wire.passed() < size + size / 2,
        "{} of {size}",
        wire.passed()
    );
}

/// Whoever leads loses its lease; returns when it is taken again.
async fn end_term(bench: &Bench) {
    let holder = "select pid from pg_locks where locktype = 'advisory' and granted
         and database = (select oid from pg_database where datname = current_database())
         and (classid::bigint << 32) | objid::bigint = hashtextextended('backups.run', 0)";
    let holder = async || {
        let pid = sqlx::query_scalar::<_, i32>(holder);
        pid.fetch_optional(&bench.t.pool).await.unwrap()
    };
    let before = holder().await.unwrap();
    sqlx::query("select pg_terminate_backend($1)")
        .bind(before)
        .execute(&bench.t.pool)
        .await
        .unwrap();
    eventually("another term", async || {
        holder().await.filter(|it| *it != before)
    })
    .await;
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn a_bucket_that_is_away_keeps_nobody_from_making_backups(pool: PgPool) {
    let bucket = s3::Bucket::new().await;
    let wire = Wire::cut_after(u64::MAX).await;
    let endpoint = format!("--offsite-endpoint=http://{}", wire.address);
    let bench = bench_with(pool.clone(), &bucket, &[&endpoint]).await;
    let it = bench.running("shop").await;
    let ends = "old.offsite_status = 'uploading' and new.offsite_status <> 'uploading'";
    refuse(&pool, ends).await;
    let id = bench.good(&it).await;
    until_refused(&pool).await;
    wire.passed.store(u64::MAX, SeqCst);
    let deleted = bench.call("DELETE", &path_of(id, ""), Value::Null).await;
    deleted.expect(204);
    end_term(&bench).await;
    bench.good(&it).await;
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn a_copy_whose_backup_was_deleted_meanwhile_goes(pool: PgPool) {
    let bucket = s3::Bucket::new().await;
    let bench = bench_with(pool.clone(), &bucket, &[]).await;
    let it = bench.running("shop").await;
    let ends = "old.offsite_status = 'uploading' and new.offsite_status <> 'uploading'";
    refuse(&pool, ends).await;
    let id = bench.good(&it).await;
    until_refused(&pool).await;
    let offsite = bucket.offsite();
    assert_eq!(offsite.list("").await.unwrap().len(), 1);
    // As when it was looked for in the bucket before the upload ended.
    sqlx::raw_sql("alter table backups disable trigger backups_forget_offsite")
        .execute(&pool)
        .await
        .unwrap();
    let deleted = bench.call("DELETE", &path_of(id, ""), Value::Null).await;
    deleted.expect(204);
    eventually("its copy is gone", async || {
        offsite.list("").await.unwrap().is_empty().then_some(())
    })
    .await;
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn a_result_that_cannot_be_noted_keeps_nobody_from_making_backups(pool: PgPool) {
    let bench = quiet(pool.clone()).await;
    let it = bench.running("shop").await;
    let id = bench.good(&it).await;
    refuse(
        &pool,
        "new.verification_status in ('good', 'failed') and new.verification_level = 'rehearsed'",
    )
    .await;
    let asked = bench.post(&path_of(id, "verify"), Value::Null).await;
    asked.expect(202);
    until_refused(&pool).await;
    end_term(&bench).await;
    bench.good(&it).await;
    relent(&pool).await;
    assert_eq!(verified(&bench, id).await["verification"]["status"], "good");
}
