//! Replacing an instance's data: what the slices above stage, the reconciler
//! carries out, or undoes.
use std::{fs, time::Duration};

use chrono::TimeDelta;
use openflow_manager::{
    instances::{
        Error, Instances,
        restores::{Entries, NewRestore, Plan, Restore, SourceKind},
    },
    kernel::{Actor, UserActor, UserId},
    runtime::{FakeProbe, Moment, Op},
};
use serde_json::{Value, json};
use sqlx::PgPool;
use uuid::Uuid;

use crate::support::instances::{Bench, It, eventually};

const STEPS_MAX: usize = 60;

pub(crate) fn ada(bench: &Bench) -> Actor {
    Actor::User(UserActor {
        id: UserId(bench.ada.id),
        name: "Ada".to_owned(),
        is_admin: false,
        session: None,
        address: None,
    })
}

pub(crate) fn instances(bench: &Bench) -> &Instances {
    &bench.t.core.instances
}

pub(crate) async fn begin(bench: &Bench, it: &It) -> Result<Restore, Error> {
    let new = NewRestore {
        source_kind: SourceKind::Snapshot,
        source_id: Uuid::now_v7(),
        source_name: "Monday".to_owned(),
    };
    instances(bench)
        .begin_restore(&ada(bench), it.key(), new)
        .await
}

/// Another `flows.json`, staged.
async fn staged(bench: &Bench, it: &It) -> Restore {
    let restore = begin(bench, it).await.unwrap();
    let staging = instances(bench).staging(&restore);
    fs::create_dir_all(&staging).unwrap();
    fs::write(staging.join("flows.json"), "new").unwrap();
    let plan = Plan {
        entries: Entries::Files(vec!["flows.json".to_owned(), "gone.json".to_owned()]),
        modules: Vec::new(),
    };
    instances(bench)
        .restore_staged(&restore, &plan)
        .await
        .unwrap()
}

fn write_old(bench: &Bench, it: &It) {
    let folder = bench.folder(it);
    fs::write(folder.join("flows.json"), "old").unwrap();
    fs::write(folder.join("gone.json"), "old").unwrap();
}

/// `flows.json`, and whether `gone.json` is there.
pub(crate) fn files(bench: &Bench, it: &It) -> (String, bool) {
    let folder = bench.folder(it);
    let flows = fs::read_to_string(folder.join("flows.json")).unwrap();
    (flows, folder.join("gone.json").exists())
}

pub(crate) async fn until_over(bench: &Bench, restore: &Restore) -> Value {
    eventually("the restore is over", async || {
        let view = bench
            .get(&format!("/api/v1/restores/{}", restore.id))
            .await
            .expect(200);
        (!view["finishedAt"].is_null()).then_some(view)
    })
    .await
}

pub(crate) fn leftovers(bench: &Bench) -> usize {
    let root = bench.t.data.path().join("instances");
    let names = fs::read_dir(root).unwrap();
    names
        .filter(|it| {
            let name = it.as_ref().unwrap().file_name();
            name.to_string_lossy().starts_with(".restore-")
        })
        .count()
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn a_running_instance_is_stopped_exchanged_and_started(pool: PgPool) {
    let bench = Bench::new(pool).await;
    let it = bench.running("wf1").await;
    write_old(&bench, &it);
    let starts = bench.runtime.count(Op::Start, it.key());
    let restore = staged(&bench, &it).await;
    let status = bench.see(&it).await["status"].clone();
    assert!(status == "stopping" || status == "starting" || status == "running");
    let view = until_over(&bench, &restore).await;
    assert_eq!(view["state"], "done");
    assert_eq!(view["requestedBy"], "Ada");
    bench.until(&it, "running").await;
    assert_eq!(files(&bench, &it), ("new".to_owned(), false));
    assert_eq!(bench.runtime.count(Op::Start, it.key()), starts + 1);
    eventually("nothing is left over", async || {
        (leftovers(&bench) == 0).then_some(())
    })
    .await;
    let list = bench.get(&it.path("restores")).await.expect(200);
    assert_eq!(list["items"][0], view);
    let audited = bench.audited(&it).await;
    assert!(audited.contains(&"instance.restore".to_owned()));
    assert!(audited.contains(&"instance.restored".to_owned()));
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn a_stopped_instance_stays_stopped(pool: PgPool) {
    let bench = Bench::new(pool).await;
    let it = bench.running("wf1").await;
    bench.ask(&it, "stop", "stopped").await;
    write_old(&bench, &it);
    let starts = bench.runtime.count(Op::Start, it.key());
    let restore = staged(&bench, &it).await;
    assert_eq!(until_over(&bench, &restore).await["state"], "done");
    assert_eq!(files(&bench, &it), ("new".to_owned(), false));
    assert_eq!(bench.see(&it).await["status"], "stopped");
    assert_eq!(bench.runtime.count(Op::Start, it.key()), starts);
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn what_does_not_become_healthy_is_undone(pool: PgPool) {
    let bench = Bench::new(pool).await;
    let it = bench.running("wf1").await;
    write_old(&bench, &it);
    bench.runtime.set_probe(it.key(), FakeProbe::Never);
    let restore = staged(&bench, &it).await;
    eventually("the new files are in", async || {
        (files(&bench, &it).0 == "new").then_some(())
    })
    .await;
    let probes = bench.runtime.count(Op::Probe, it.key());
    eventually("the new container is looked at", async || {
        (bench.runtime.count(Op::Probe, it.key()) > probes + 1).then_some(())
    })
    .await;
    eventually("the old files are back", async || {
        // Each time anew: another look at it begins another wait.
        bench.t.clock.advance(TimeDelta::minutes(3));
        (files(&bench, &it) == ("old".to_owned(), true)).then_some(())
    })
    .await;
    bench
        .runtime
        .set_probe(it.key(), FakeProbe::Healthy { after: 0 });
    let view = until_over(&bench, &restore).await;
    assert_eq!(view["state"], "undone");
    assert_eq!(view["detail"], "it did not become healthy");
    let view = bench.until(&it, "running").await;
    let detail = view["statusDetail"].as_str().unwrap();
    assert!(
        detail.contains("The restore of Monday was undone"),
        "{detail}"
    );
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn a_whole_folder_is_exchanged(pool: PgPool) {
    let bench = Bench::new(pool).await;
    let it = bench.running("wf1").await;
    write_old(&bench, &it);
    let restore = begin(&bench, &it).await.unwrap();
    let staging = instances(&bench).staging(&restore);
    fs::create_dir_all(&staging).unwrap();
    fs::write(staging.join("flows.json"), "new").unwrap();
    let plan = Plan {
        entries: Entries::Whole,
        modules: Vec::new(),
    };
    instances(&bench)
        .restore_staged(&restore, &plan)
        .await
        .unwrap();
    assert_eq!(until_over(&bench, &restore).await["state"], "done");
    assert_eq!(files(&bench, &it), ("new".to_owned(), false));
    bench.until(&it, "running").await;
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn one_restore_at_a_time(pool: PgPool) {
    let bench = Bench::new(pool).await;
    let it = bench.running("wf1").await;
    let first = begin(&bench, &it).await.unwrap();
    let second = begin(&bench, &it).await;
    assert!(matches!(second, Err(Error::RestoreUnderWay)));
    let instances = instances(&bench);
    instances
        .restore_not_staged(&first, "the archive is damaged")
        .await
        .unwrap();
    let view = until_over(&bench, &first).await;
    assert_eq!(view["state"], "failed");
    assert_eq!(view["detail"], "the archive is damaged");
    assert_eq!(leftovers(&bench), 0);
    begin(&bench, &it).await.unwrap();
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn one_whose_maker_died_is_given_up(pool: PgPool) {
    let bench = Bench::new(pool).await;
    let it = bench.running("wf1").await;
    write_old(&bench, &it);
    let restore = begin(&bench, &it).await.unwrap();
    bench.t.clock.advance(TimeDelta::minutes(1));
    let alive = instances(&bench).restore_progress(restore.id, 1, 2).await;
    assert!(alive.unwrap());
    bench.t.clock.advance(TimeDelta::minutes(3));
    let mut bench = bench;
    bench.kill_and_start_anew().await; // the clean-up runs at the start
    let view = until_over(&bench, &restore).await;
    assert_eq!(view["state"], "failed");
    assert_eq!(view["progress"], json!({"doneBytes": 1, "totalBytes": 2}));
    assert_eq!(files(&bench, &it), ("old".to_owned(), true));
    let late = instances(&bench).restore_progress(restore.id, 2, 2).await;
    assert!(!late.unwrap());
    eventually("nothing is left over", async || {
        (leftovers(&bench) == 0).then_some(())
    })
    .await;
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn killed_at_every_step_it_ends_restored(pool: PgPool) {
    let mut bench = Bench::new(pool).await;
    let mut kills = 0;
    'steps: for nth in 1..STEPS_MAX {
        for moment in [Moment::BeforeEffect, Moment::AfterEffect] {
            let it = bench.running("wf1").await;
            write_old(&bench, &it);
            bench
                .runtime
                .hang_on(|call| call.instance.is_some(), nth, moment);
            let restore = staged(&bench, &it).await;
            let hung = tokio::select! {
                () = bench.runtime.hung() => true,
                _ = until_over(&bench, &restore) => false,
            };
            kills += usize::from(hung);
            bench.runtime.heal();
            bench.kill_and_start_anew().await;
            let view = until_over(&bench, &restore).await;
            assert_eq!(view["state"], "done", "{view:#}");
            bench.until(&it, "running").await;
            assert_eq!(files(&bench, &it), ("new".to_owned(), false));
            bench
                .call("DELETE", &it.path(""), Value::Null)
                .await
                .expect(202);
            bench.until_gone(&it).await;
            if !hung {
                break 'steps;
            }
        }
    }
    assert!(kills > 5, "only {kills} steps were seen");
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn a_deleted_instance_takes_its_restore_along(pool: PgPool) {
    let bench = Bench::new(pool).await;
    let it = bench.running("wf1").await;
    let restore = begin(&bench, &it).await.unwrap();
    fs::create_dir_all(instances(&bench).staging(&restore)).unwrap();
    bench
        .call("DELETE", &it.path(""), Value::Null)
        .await
        .expect(202);
    bench.until_gone(&it).await;
    let path = format!("/api/v1/restores/{}", restore.id);
    assert_eq!(bench.get(&path).await.status, 404);
    let plan = Plan {
        entries: Entries::Whole,
        modules: Vec::new(),
    };
    let late = instances(&bench).restore_staged(&restore, &plan).await;
    assert!(matches!(late, Err(Error::RestoreGivenUp)));
    assert_eq!(leftovers(&bench), 0);
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn a_frozen_instance_stays_so_until_it_is_thawed(pool: PgPool) {
    let bench = Bench::new(pool).await;
    let it = bench.running("wf1").await;
    let instances = instances(&bench);
    let limit = Duration::from_secs(60);
    assert!(instances.freeze(it.key(), limit).await.unwrap());
    // Another instance's life: the reconciler had time to look at this one.
    bench.running("wf2").await;
    assert_eq!(bench.runtime.count(Op::Unpause, it.key()), 0);
    assert!(instances.thaw(it.key()).await.unwrap());
    assert_eq!(bench.runtime.count(Op::Unpause, it.key()), 1);
    bench.until(&it, "running").await;

    // Two copies at once: one after the other.
    assert!(instances.freeze(it.key(), limit).await.unwrap());
    let (second, ()) = tokio::join!(instances.freeze(it.key(), limit), async {
        assert!(instances.thaw(it.key()).await.unwrap());
    });
    assert!(second.unwrap());
    assert!(instances.thaw(it.key()).await.unwrap());
    let thawed = bench.runtime.count(Op::Unpause, it.key());

    // One whose backup was killed is not left frozen.
    assert!(instances.freeze(it.key(), limit).await.unwrap());
    bench.t.clock.advance(TimeDelta::minutes(2));
    let mut bench = bench;
    bench.kill_and_start_anew().await;
    eventually("it is thawed", async || {
        (bench.runtime.count(Op::Unpause, it.key()) == thawed + 1).then_some(())
    })
    .await;
    let late = bench.t.core.instances.thaw(it.key()).await;
    assert!(!late.unwrap());
    bench.ask(&it, "stop", "stopped").await;
    let stopped = bench.t.core.instances.freeze(it.key(), limit).await;
    assert!(!stopped.unwrap());
}
