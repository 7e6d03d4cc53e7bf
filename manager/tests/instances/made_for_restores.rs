//! Instances that are made for a restore: with their data, or not at all.
use std::fs;

use chrono::TimeDelta;
use openflow_manager::{
    instances::{
        NewInstance,
        restores::{Entries, NewRestore, Plan, Restore, SourceKind},
    },
    kernel::ProjectId,
    runtime::Op,
};
use serde_json::Value;
use sqlx::PgPool;
use uuid::Uuid;

use crate::{
    restores::{ada, begin, files, instances, leftovers, until_over},
    support::instances::{Bench, It, eventually},
};

/// An instance that is made for a restore, and the restore.
async fn begin_new(bench: &Bench, subdomain: &str) -> (It, Restore) {
    let new = NewRestore {
        source_kind: SourceKind::Backup,
        source_id: Uuid::now_v7(),
        source_name: "Shop, Monday".to_owned(),
    };
    let names = NewInstance::parse("Shop", subdomain).unwrap();
    let project = ProjectId(bench.project);
    let ada = ada(bench);
    let begun = instances(bench).begin_restore_into_new(&ada, project, (names, None), new);
    let restore = begun.await.unwrap();
    let it = It {
        id: restore.instance.0,
        subdomain: subdomain.to_owned(),
    };
    (it, restore)
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn an_instance_made_for_a_restore_goes_when_its_maker_died(pool: PgPool) {
    let mut bench = Bench::new(pool).await;
    let (it, restore) = begin_new(&bench, "again").await;
    fs::create_dir_all(instances(&bench).staging(&restore)).unwrap();
    bench.t.clock.advance(TimeDelta::minutes(3));
    bench.kill_and_start_anew().await;
    bench.until_gone(&it).await;
    assert_eq!(bench.runtime.count(Op::Create, it.key()), 0);
    let audited = bench.audited(&it).await;
    let expected = ["instance.create", "instance.restore", "instance.delete"];
    assert_eq!(audited, expected);
    let why = bench.get("/api/v1/audit?action=instance.delete").await;
    let why = why.expect(200)["items"][0]["detail"]["why"].clone();
    let why = why.as_str().unwrap();
    assert!(why.contains("did not come") && why.contains("manager was stopped"));
    eventually("nothing is left over", async || {
        (leftovers(&bench) == 0).then_some(())
    })
    .await;
    // Its name is free.
    bench.running("again").await;
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn an_instance_made_for_a_restore_goes_when_the_data_cannot_be_staged(pool: PgPool) {
    let bench = Bench::new(pool).await;
    let (it, restore) = begin_new(&bench, "again").await;
    let failed = instances(&bench).restore_not_staged(&restore, "the archive is damaged");
    assert!(failed.await.unwrap());
    bench.until_gone(&it).await;
    // One that was there before stays.
    let it = bench.running("wf1").await;
    let restore = begin(&bench, &it).await.unwrap();
    let failed = instances(&bench).restore_not_staged(&restore, "the archive is damaged");
    assert!(failed.await.unwrap());
    assert_eq!(until_over(&bench, &restore).await["state"], "failed");
    assert_eq!(bench.see(&it).await["status"], "running");
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn an_instance_made_for_a_restore_can_be_stopped_before(pool: PgPool) {
    let bench = Bench::new(pool).await;
    let (it, restore) = begin_new(&bench, "again").await;
    // Starting it does not start it empty.
    bench.post(&it.path("start"), Value::Null).await.expect(202);
    bench.ask(&it, "stop", "stopped").await;
    let staging = instances(&bench).staging(&restore);
    fs::create_dir_all(&staging).unwrap();
    fs::write(staging.join("flows.json"), "new").unwrap();
    let plan = Plan {
        entries: Entries::Whole,
        modules: Vec::new(),
    };
    let staged = instances(&bench).restore_staged(&restore, &plan);
    staged.await.unwrap();
    assert_eq!(until_over(&bench, &restore).await["state"], "done");
    assert_eq!(bench.see(&it).await["status"], "stopped");
    assert_eq!(bench.runtime.count(Op::Create, it.key()), 0);
    assert_eq!(files(&bench, &it), ("new".to_owned(), false));
}
