//! Backups that are tried out in a throwaway container.
use std::sync::{Arc, Mutex};

use chrono::TimeDelta;
use openflow_manager::{
    kernel::Clock as _,
    runtime::{Ended, Error, Moment, Op, Rehearsal},
};
use serde_json::Value;
use sqlx::PgPool;
use uuid::Uuid;

use super::bench::{WithBackups as _, path_of, quiet};
use crate::support::instances::{Bench, eventually};

const SOON: [&str; 2] = ["--backup-schedule=off", "--backup-min-free-mb=0"];

fn ended(exit_code: i64, stdout: &str) -> Ended {
    Ended {
        exit_code: Some(exit_code),
        stdout: stdout.into(),
        ..Ended::default()
    }
}

async fn verify(bench: &Bench, id: Uuid) -> Value {
    let asked = bench.post(&path_of(id, "verify"), Value::Null).await;
    assert_eq!(asked.expect(202)["verification"]["status"], "pending");
    verified(bench, id).await
}

async fn verified(bench: &Bench, id: Uuid) -> Value {
    eventually("it is verified", async || {
        let it = bench.backup(id).await;
        let status = it["verification"]["status"].as_str().unwrap();
        ["good", "failed"].contains(&status).then_some(it)
    })
    .await
}

/// Folders of rehearsals that are there.
fn folders(bench: &Bench) -> usize {
    let all = std::fs::read_dir(bench.t.data.path().join("backups")).unwrap();
    let names = all.map(|it| it.unwrap().file_name().into_string().unwrap());
    names.filter(|it| it.starts_with(".rehearsal-")).count()
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn a_backup_is_started_in_a_container_of_its_own_and_nothing_stays(pool: PgPool) {
    let bench = quiet(pool).await;
    let env = serde_json::json!([{"name": "COLOR", "value": "red"}]);
    let it = bench
        .create_with("shop", serde_json::json!({"env": env}))
        .await;
    bench.until(&it, "running").await;
    bench.write(&it, "sub/data.bin", "precious");
    let id = bench.good(&it).await;
    bench.write(&it, "sub/data.bin", "changed since");

    let seen = Arc::new(Mutex::new(None));
    let looked = seen.clone();
    bench.runtime.set_rehearsals(move |it: &Rehearsal| {
        let there = std::fs::read_to_string(it.data_dir.join("sub/data.bin")).ok();
        *looked.lock().unwrap() = there;
        let checks =
            r#"{"ok":true,"checks":[{"name":"start","ok":true,"detail":"answered after 9 ms"}]}"#;
        Ok(ended(0, &format!("noise\n{checks}\n")))
    });
    let backup = verify(&bench, id).await;
    let verification = &backup["verification"];
    assert_eq!(verification["status"], "good", "{verification:#}");
    assert_eq!(verification["level"], "rehearsed");
    assert_eq!(verification["detail"], "start: answered after 9 ms");
    assert_eq!(seen.lock().unwrap().as_deref(), Some("precious"));
    assert_eq!(folders(&bench), 0);

    let runs = bench.runtime.rehearsals();
    assert_eq!(runs.len(), 1);
    assert_eq!(runs[0].image, "openflow/node-red:5");
    assert_eq!(runs[0].command[0], "node");
    assert!(runs[0].command[1].ends_with("/rehearse.js"));
    let inside = |name: &str| runs[0].env.get(name).map(|it| it.expose().to_owned());
    let real = |name: &str| bench.env_of(&it, name);
    assert_eq!(inside("COLOR").as_deref(), Some("red"));
    let secret = "OPENFLOW_CREDENTIAL_SECRET";
    assert_eq!(inside(secret), real(secret));
    for worth_something in ["OPENFLOW_MAGIC_TOKEN", "OPENFLOW_MQTT_PASSWORD"] {
        assert!(inside(worth_something).is_some());
        assert_ne!(inside(worth_something), real(worth_something));
    }
    assert_eq!(bench.see(&it).await["status"], "running");
    assert_eq!(bench.read(&it, "sub/data.bin").unwrap(), b"changed since");
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn an_instance_that_would_not_live_fails_with_the_checks_words(pool: PgPool) {
    let bench = quiet(pool).await;
    let it = bench.running("shop").await;
    let id = bench.good(&it).await;
    bench.runtime.set_rehearsals(|_| {
        let checks = r#"{"ok":false,"checks":[{"name":"flows","ok":true,"detail":"x"},{"name":"sqlite","ok":false,"detail":"damaged: a.db: row 1"}]}"#;
        Ok(ended(1, checks))
    });
    let backup = verify(&bench, id).await;
    let verification = &backup["verification"];
    assert_eq!(verification["status"], "failed");
    assert_eq!(verification["level"], "rehearsed");
    assert_eq!(verification["detail"], "sqlite: damaged: a.db: row 1");
    // The archive itself is whole: somebody may want it all the same.
    assert_eq!(backup["status"], "good");
    let noted: i64 =
        sqlx::query_scalar("select count(*) from audit_log where action = 'backup.not_verified'")
            .fetch_one(&bench.t.pool)
            .await
            .unwrap();
    assert_eq!(noted, 1);
    assert_eq!(folders(&bench), 0);
}

/// What a host answers that cannot rehearse, and words that say so.
fn hindrances() -> [(Result<Ended, Error>, &'static str); 3] {
    let lacks = Ended {
        stderr: "Error: Cannot find module '/opt/openflow/node-red/rehearse.js'".into(),
        ..ended(1, "")
    };
    [
        (Err(Error::Unavailable("gone".into())), "Docker"),
        (Err(Error::ImageMissing("x:1".into())), "x:1"),
        (Ok(lacks), "build it anew"),
    ]
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn what_this_host_cannot_do_says_nothing_against_the_backup(pool: PgPool) {
    let bench = quiet(pool).await;
    let it = bench.running("shop").await;
    let id = bench.good(&it).await;
    let before = bench.backup(id).await["verification"].clone();
    assert_eq!(before["status"], "good");
    assert_eq!(before["level"], "read");
    for (answer, words) in hindrances() {
        bench.runtime.set_rehearsals(move |_| answer.clone());
        says_only_that_it_could_not_run(&bench, id, &before, words).await;
        assert_eq!(folders(&bench), 0);
    }
}

/// A verification changes nothing of `before` but the detail.
async fn says_only_that_it_could_not_run(bench: &Bench, id: Uuid, before: &Value, words: &str) {
    let verification = verify(bench, id).await["verification"].clone();
    for same in ["status", "level", "at"] {
        assert_eq!(verification[same], before[same], "{verification:#}");
    }
    let detail = verification["detail"].as_str().unwrap();
    let at = bench.t.clock.now().format("%Y-%m-%d %H:%M UTC");
    let tells = format!("the try of {at} could not run: ");
    assert!(
        detail.contains(&tells) && detail.contains(words),
        "{detail}"
    );
    let known = before["detail"].as_str().unwrap_or_default();
    assert!(detail.starts_with(known), "{detail}");
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn a_result_outlives_tries_that_could_not_run(pool: PgPool) {
    let bench = quiet(pool).await;
    let it = bench.running("shop").await;
    let id = bench.good(&it).await;
    for (ok, status) in [(false, "failed"), (true, "good")] {
        let says = format!(
            r#"{{"ok":{ok},"checks":[{{"name":"start","ok":{ok},"detail":"so it went"}}]}}"#
        );
        bench
            .runtime
            .set_rehearsals(move |_| Ok(ended(i64::from(!ok), &says)));
        let real = verify(&bench, id).await["verification"].clone();
        assert_eq!(real["status"], status);
        assert_eq!(real["level"], "rehearsed");
        assert_eq!(real["detail"], "start: so it went");
        for (answer, words) in hindrances() {
            bench.t.clock.advance(TimeDelta::hours(5));
            bench.runtime.set_rehearsals(move |_| answer.clone());
            says_only_that_it_could_not_run(&bench, id, &real, words).await;
        }
    }
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn the_backup_of_a_deleted_instance_is_tried_with_the_default_image(pool: PgPool) {
    let bench = quiet(pool).await;
    let it = bench.running("shop").await;
    let secret = bench.env_of(&it, "OPENFLOW_CREDENTIAL_SECRET");
    let id = bench.good(&it).await;
    bench
        .call("DELETE", &it.path(""), Value::Null)
        .await
        .expect(202);
    bench.until_gone(&it).await;
    let backup = verify(&bench, id).await;
    assert_eq!(backup["verification"]["level"], "rehearsed", "{backup:#}");
    let run = bench.runtime.rehearsals().pop().unwrap();
    let inside = run.env.get("OPENFLOW_CREDENTIAL_SECRET");
    assert_eq!(inside.map(|it| it.expose().to_owned()), secret);
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn each_instances_newest_good_backup_is_tried_out_by_itself(pool: PgPool) {
    let mut bench = Bench::with_flags(pool, &SOON).await;
    let (shop, lamp) = (bench.running("shop").await, bench.running("lamp").await);
    let old = bench.good(&shop).await;
    let (new, other) = (bench.good(&shop).await, bench.good(&lamp).await);
    // They are looked for at the start, and then now and again.
    bench.kill_and_start_anew().await;
    for id in [new, other] {
        eventually("it is rehearsed", async || {
            (bench.backup(id).await["verification"]["level"] == "rehearsed").then_some(())
        })
        .await;
    }
    assert_eq!(bench.backup(old).await["verification"]["level"], "read");
    bench.kill_and_start_anew().await;
    let third = bench.good(&lamp).await;
    assert_eq!(
        verify(&bench, third).await["verification"]["level"],
        "rehearsed"
    );
    assert_eq!(bench.runtime.rehearsals().len(), 3, "none twice");
    eventually("the metrics tell", async || {
        let who = &bench.ada.who;
        let (_, text) = bench.t.raw(("GET", "/metrics"), who, &[], Vec::new()).await;
        let text = String::from_utf8(text.to_vec()).unwrap();
        [
            "openflow_backup_verified_age_seconds",
            "openflow_backup_verifications{status=\"good\"}",
        ]
        .iter()
        .all(|it| text.contains(it))
        .then_some(())
    })
    .await;
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn a_rehearsal_whose_manager_is_killed_is_swept_and_begun_anew(pool: PgPool) {
    let mut bench = quiet(pool).await;
    let it = bench.running("shop").await;
    let id = bench.good(&it).await;
    bench
        .runtime
        .hang_on(|call| call.op == Op::RunOnce, 1, Moment::AfterEffect);
    bench
        .post(&path_of(id, "verify"), Value::Null)
        .await
        .expect(202);
    bench.runtime.hung().await;
    assert_eq!(folders(&bench), 1);
    assert_eq!(bench.backup(id).await["verification"]["status"], "running");
    let refused = bench.call("DELETE", &path_of(id, ""), Value::Null).await;
    assert_eq!(refused.refusal(), (409, "backup.being_verified"));

    let left = bench.runtime.runs_under_way();
    assert_eq!(left.len(), 1);
    let away = Error::Unavailable("it was killed first".into());
    bench.runtime.fail_next(Op::EndRun, away);
    bench.kill_and_start_anew().await;
    let backup = verified(&bench, id).await;
    assert_eq!(backup["verification"]["level"], "rehearsed");
    assert_eq!(folders(&bench), 0);
    // As far as the new leader knows, another manager may be reading there.
    assert_eq!(bench.runtime.runs_under_way(), left);
    bench.t.clock.advance(TimeDelta::hours(3));
    bench.kill_and_start_anew().await;
    eventually("what was left is swept", async || {
        bench.runtime.runs_under_way().is_empty().then_some(())
    })
    .await;
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn a_rehearsal_ends_with_its_manager(pool: PgPool) {
    let bench = quiet(pool).await;
    let it = bench.running("shop").await;
    let id = bench.good(&it).await;
    bench
        .runtime
        .hang_on(|call| call.op == Op::RunOnce, 1, Moment::AfterEffect);
    bench
        .post(&path_of(id, "verify"), Value::Null)
        .await
        .expect(202);
    bench.runtime.hung().await;
    assert_eq!(bench.runtime.runs_under_way().len(), 1);
    bench.t.kill().await;
    assert!(bench.runtime.runs_under_way().is_empty());
    assert_eq!(folders(&bench), 0);
}
