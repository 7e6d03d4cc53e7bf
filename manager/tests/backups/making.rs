//! Making, listing, downloading, verifying and deleting them.
use std::{fs, os::unix::fs::PermissionsExt as _};

use openflow_manager::runtime::Op;
use serde_json::Value;
use sqlx::PgPool;

use super::bench::{QUIET, WithBackups as _, noise, path_of, quiet};
use crate::support::instances::{Bench, eventually};

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn a_running_instance_is_copied_while_it_runs(pool: PgPool) {
    let bench = quiet(pool).await;
    let it = bench.running("shop").await;
    bench.write(&it, "data.bin", vec![7; 100_000]);
    bench.write(&it, ".npm/cache", "of no use");
    let id = bench.ask_backup(&it).await;
    let backup = bench.ended(id).await;
    assert_eq!(backup["status"], "good", "{backup:#}");
    assert_eq!(backup["trigger"], "manual");
    assert_eq!(backup["requestedBy"], "Ada");
    assert_eq!(backup["instanceName"], "shop");
    assert_eq!(backup["instanceExists"], true);
    assert_eq!(backup["verification"]["status"], "good");
    assert_eq!(backup["verification"]["level"], "read");
    assert_eq!(backup["offsite"]["status"], "off");
    assert!(backup["freezeMs"].is_number(), "{backup:#}");
    assert!(backup["dataBytes"].as_i64().unwrap() >= 100_000);
    assert_eq!(backup["skipped"], serde_json::json!([]));
    // It was held still, and let go.
    assert_eq!(bench.runtime.count(Op::Pause, it.key()), 1);
    assert_eq!(bench.runtime.count(Op::Unpause, it.key()), 1);
    bench.until(&it, "running").await;

    let files = bench.files_of(&it);
    assert_eq!(files.len(), 1, "{files:?}");
    assert!(
        files[0].ends_with("Z.tar.gz") && files[0].len() == 23,
        "{files:?}"
    );
    let file = fs::read(bench.backup_folder(&it).join(&files[0])).unwrap();
    assert_eq!(backup["sizeBytes"], file.len());
    let mode = |path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(bench.backup_folder(&it)), 0o700);
    assert_eq!(mode(bench.backup_folder(&it).join(&files[0])), 0o600);
    // Any tar opens it.
    let mut names = Vec::new();
    let mut tar = tar::Archive::new(flate2::read::MultiGzDecoder::new(&*file));
    for entry in tar.entries().unwrap() {
        names.push(entry.unwrap().path().unwrap().display().to_string());
    }
    assert!(names.iter().any(|it| it == "data/data.bin"), "{names:?}");
    assert!(!names.iter().any(|it| it.contains(".npm")), "{names:?}");
    assert_eq!(names.last().unwrap(), "manifest.json");
    let spools = fs::read_dir(bench.t.data.path().join("backups")).unwrap();
    assert_eq!(spools.count(), 1, "nothing is left beside");
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn a_stopped_instance_is_copied_and_stays_stopped(pool: PgPool) {
    let bench = quiet(pool).await;
    let it = bench.running("shop").await;
    bench.ask(&it, "stop", "stopped").await;
    let id = bench.good(&it).await;
    assert_eq!(bench.backup(id).await["freezeMs"], Value::Null);
    assert_eq!(bench.runtime.count(Op::Pause, it.key()), 0);
    assert_eq!(bench.see(&it).await["status"], "stopped");
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn the_manifest_holds_no_secret(pool: PgPool) {
    let bench = quiet(pool).await;
    let env = serde_json::json!([{"name": "KEY", "value": "hunter2", "secret": true}]);
    let it = bench
        .create_with("shop", serde_json::json!({"env": env}))
        .await;
    bench.until(&it, "running").await;
    let id = bench.good(&it).await;
    let about: Value = sqlx::query_scalar("select about from backups where id = $1")
        .bind(id)
        .fetch_one(&bench.t.pool)
        .await
        .unwrap();
    assert_eq!(about["format"], "openflow-backup");
    assert_eq!(about["instanceId"], it.id.to_string());
    assert_eq!(about["env"], serde_json::json!(["KEY"]));
    let secret = bench.env_of(&it, "OPENFLOW_CREDENTIAL_SECRET").unwrap();
    for hidden in ["hunter2", &secret] {
        assert!(!about.to_string().contains(hidden));
    }
    let seen = bench.backup(id).await.to_string();
    assert!(!seen.contains("credentialSecret"), "{seen}");
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn a_download_is_the_file_or_a_part_of_it(pool: PgPool) {
    let bench = quiet(pool).await;
    let it = bench.running("shop").await;
    let id = bench.good(&it).await;
    let file = fs::read(bench.backup_folder(&it).join(&bench.files_of(&it)[0])).unwrap();
    let path = path_of(id, "download");
    let get = async |headers: &[(&str, &str)]| {
        let call = ("GET", &*path);
        bench.t.raw(call, &bench.ada.who, headers, Vec::new()).await
    };
    let (answer, bytes) = get(&[]).await;
    assert_eq!(answer.status, 200);
    assert_eq!(bytes, file);
    assert_eq!(answer.headers["content-type"], "application/gzip");
    let name = answer.headers["content-disposition"].to_str().unwrap();
    assert!(name.starts_with("attachment; filename=\"shop-"), "{name}");
    assert!(name.ends_with("Z.tar.gz\""), "{name}");

    let (answer, bytes) = get(&[("range", "bytes=10-19")]).await;
    assert_eq!(answer.status, 206);
    assert_eq!(bytes, file[10..20]);
    let (answer, _) = get(&[("range", "bytes=999999999-")]).await;
    assert_eq!(answer.refusal(), (422, "backup.bad_range"));

    fs::remove_file(bench.backup_folder(&it).join(&bench.files_of(&it)[0])).unwrap();
    assert_eq!(get(&[]).await.0.refusal(), (410, "backup.file_gone"));
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn one_at_a_time_for_an_instance(pool: PgPool) {
    let bench = Bench::with_flags(pool, &QUIET).await;
    let it = bench.running("shop").await;
    // Nobody takes it while the instance is being restored.
    restoring(&bench, &it).await;
    let id = bench.ask_backup(&it).await;
    let again = bench.post(&it.path("backups"), Value::Null).await;
    assert_eq!(again.refusal(), (409, "backup.under_way"));
    for below in ["restore", "verify"] {
        let answer = bench.post(&path_of(id, below), Value::Null).await;
        assert_eq!(answer.refusal(), (409, "backup.not_finished"), "{below}");
    }
    let answer = bench.get(&path_of(id, "download")).await;
    assert_eq!(answer.refusal(), (409, "backup.not_finished"));
    // A backup that waits can be cancelled.
    let delete = bench.call("DELETE", &path_of(id, ""), Value::Null).await;
    delete.expect(204);
    bench.ask_backup(&it).await;
}

/// As if somebody were putting files beside.
async fn restoring(bench: &Bench, it: &crate::support::instances::It) {
    sqlx::query(
        "insert into restores (id, instance_id, project_id, source_kind, source_id, source_name, state, requested_by,
                               created_at, touched_at)
         values ($1, $1, $2, 'backup', $1, 'x', 'preparing', 'x', now(), now() + interval '1 hour')",
    )
    .bind(it.id)
    .bind(bench.project)
    .execute(&bench.t.pool)
    .await
    .unwrap();
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn a_backup_waits_for_a_restore_to_end(pool: PgPool) {
    let bench = quiet(pool).await;
    let (it, other) = (bench.running("shop").await, bench.running("other").await);
    restoring(&bench, &it).await;
    let id = bench.ask_backup(&it).await;
    // One that was asked for later is made meanwhile.
    bench.good(&other).await;
    assert_eq!(bench.backup(id).await["status"], "pending");
    sqlx::query("update restores set state = 'failed', finished_at = now()")
        .execute(&bench.t.pool)
        .await
        .unwrap();
    assert_eq!(bench.ended(id).await["status"], "good");
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn deleting_takes_the_file_along(pool: PgPool) {
    let bench = quiet(pool).await;
    let it = bench.running("shop").await;
    let (first, second) = (bench.good(&it).await, bench.good(&it).await);
    assert_eq!(bench.files_of(&it).len(), 2);
    let delete = async |id| bench.call("DELETE", &path_of(id, ""), Value::Null).await;
    delete(first).await.expect(204);
    assert_eq!(bench.files_of(&it).len(), 1);
    assert_eq!(bench.get(&path_of(first, "")).await.status, 404);
    delete(second).await.expect(204);
    assert!(!bench.backup_folder(&it).exists());
    let actions: Vec<String> =
        sqlx::query_scalar("select action from audit_log where target_type = 'backup' order by id")
            .fetch_all(&bench.t.pool)
            .await
            .unwrap();
    assert_eq!(
        actions,
        [
            "backup.create",
            "backup.create",
            "backup.delete",
            "backup.delete"
        ]
    );
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn backups_outlive_their_instance_and_go_with_the_project(pool: PgPool) {
    let bench = quiet(pool).await;
    let it = bench.running("shop").await;
    let id = bench.good(&it).await;
    bench
        .call("DELETE", &it.path(""), Value::Null)
        .await
        .expect(202);
    bench.until_gone(&it).await;
    let list = format!("/api/v1/projects/{}/backups", bench.project);
    let list = bench.get(&list).await.expect(200);
    assert_eq!(list["items"][0]["id"], id.to_string());
    assert_eq!(list["items"][0]["instanceExists"], false);
    let (answer, _) = bench
        .t
        .raw(
            ("GET", &path_of(id, "download")),
            &bench.ada.who,
            &[],
            Vec::new(),
        )
        .await;
    assert_eq!(answer.status, 200);

    let project = format!("/api/v1/projects/{}", bench.project);
    bench
        .call("DELETE", &project, Value::Null)
        .await
        .expect(202);
    eventually("the project is gone", async || {
        (bench.get(&project).await.status == 404).then_some(())
    })
    .await;
    let mut bench = bench;
    bench.kill_and_start_anew().await; // the hourly pass is made at the start, too
    eventually("its backups are gone", async || {
        bench.files_of(&it).is_empty().then_some(())
    })
    .await;
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn a_damaged_backup_is_good_no_more(pool: PgPool) {
    let bench = quiet(pool).await;
    let it = bench.running("shop").await;
    let (whole, damaged) = (bench.good(&it).await, bench.good(&it).await);
    let name: String = sqlx::query_scalar("select file_name from backups where id = $1")
        .bind(damaged)
        .fetch_one(&bench.t.pool)
        .await
        .unwrap();
    let file = bench.backup_folder(&it).join(name);
    let mut bytes = fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    fs::write(&file, bytes).unwrap();
    for (id, verification, status) in [(whole, "good", "good"), (damaged, "failed", "failed")] {
        let asked = bench
            .post(&path_of(id, "verify"), Value::Null)
            .await
            .expect(202);
        assert_eq!(asked["verification"]["status"], "pending");
        let backup = eventually("it is verified", async || {
            let it = bench.backup(id).await;
            let over =
                it["verification"]["status"] == "good" || it["verification"]["status"] == "failed";
            over.then_some(it)
        })
        .await;
        assert_eq!(backup["verification"]["status"], verification, "{backup:#}");
        assert_eq!(backup["status"], status, "{backup:#}");
    }
    let answer = bench.try_restore(damaged, Value::Null).await;
    assert_eq!(answer.refusal(), (409, "backup.nothing_in_it"));
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn one_that_runs_is_cancelled_by_deleting_it_or_its_instance(pool: PgPool) {
    let bench = quiet(pool).await;
    let it = bench.running("shop").await;
    bench.write(&it, "noise", noise(48 << 20));
    let begun = async || {
        let id = bench.ask_backup(&it).await;
        eventually("it has begun", async || {
            (bench.backup(id).await["status"] != "pending").then_some(())
        })
        .await;
        id
    };
    let id = begun().await;
    let delete = bench.call("DELETE", &path_of(id, ""), Value::Null).await;
    delete.expect(204);
    eventually("nothing is left of it", async || {
        bench.files_of(&it).is_empty().then_some(())
    })
    .await;
    let id = begun().await;
    let gone = bench.call("DELETE", &it.path(""), Value::Null).await;
    gone.expect(202);
    let backup = bench.ended(id).await;
    // It may have been done a moment before.
    let left = usize::from(backup["status"] != "failed");
    bench.until_gone(&it).await;
    eventually("and of this", async || {
        (bench.files_of(&it).len() == left).then_some(())
    })
    .await;
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn metrics_tell_of_them(pool: PgPool) {
    let bench = quiet(pool).await;
    let it = bench.running("shop").await;
    bench.good(&it).await;
    let mut bench = bench;
    bench.kill_and_start_anew().await; // they are measured at the start, too
    eventually("the metrics are there", async || {
        let (_, text) = bench
            .t
            .raw(("GET", "/metrics"), &bench.ada.who, &[], Vec::new())
            .await;
        let text = String::from_utf8(text.to_vec()).unwrap();
        [
            "openflow_backups{status=\"good\"}",
            "openflow_backup_last_good_age_seconds",
            "openflow_backup_bytes",
        ]
        .iter()
        .all(|it| text.contains(it))
        .then_some(())
    })
    .await;
}
