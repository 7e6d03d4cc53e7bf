//! Putting backups back.
use serde_json::{Value, json};
use sqlx::PgPool;

use openflow_manager::runtime::Op;

use super::bench::{WithBackups as _, credentials, quiet};
use crate::support::{
    hold::Hold,
    instances::{Bench, It, eventually},
};

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn into_the_same_instance(pool: PgPool) {
    let bench = quiet(pool).await;
    let it = bench.running("shop").await;
    bench.write(&it, "a/b.txt", "before");
    let id = bench.good(&it).await;
    bench.write(&it, "a/b.txt", "after");
    bench.write(&it, "new.txt", "after");
    let restore = bench.try_restore(id, Value::Null).await.expect(202);
    assert_eq!(restore["kind"], "backup");
    assert_eq!(restore["sourceId"], id.to_string());
    let restore = bench.restored(&restore).await;
    assert_eq!(restore["state"], "done", "{restore}");
    assert_eq!(bench.read(&it, "a/b.txt").unwrap(), b"before");
    assert_eq!(bench.read(&it, "new.txt"), None);
    bench.until(&it, "running").await;
    assert!(
        bench
            .audited(&it)
            .await
            .contains(&"instance.restored".to_owned())
    );
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn into_another_instance_with_its_own_secret(pool: PgPool) {
    let bench = quiet(pool).await;
    let (from, to) = (bench.running("dev").await, bench.running("prod").await);
    let before = credentials(&bench, &from);
    assert!(before.is_object(), "{before}");
    bench.write(&from, "marker", "dev");
    let id = bench.good(&from).await;
    let restore = bench
        .try_restore(id, json!({"instanceId": to.id}))
        .await
        .expect(202);
    assert_eq!(restore["instanceId"], to.id.to_string());
    bench.is_done(&restore).await;
    assert_eq!(bench.read(&to, "marker").unwrap(), b"dev");
    assert_eq!(credentials(&bench, &to), before);
    assert_ne!(
        bench.read(&to, "flows_cred.json"),
        bench.read(&from, "flows_cred.json")
    );
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn into_a_new_instance_after_the_old_one_is_gone(pool: PgPool) {
    let bench = quiet(pool).await;
    let it = bench.running("shop").await;
    bench.write(&it, "marker", "old");
    let before = credentials(&bench, &it);
    let id = bench.good(&it).await;
    bench
        .call("DELETE", &it.path(""), Value::Null)
        .await
        .expect(202);
    bench.until_gone(&it).await;
    let own = bench.try_restore(id, Value::Null).await;
    assert_eq!(own.refusal(), (404, "instance.not_found"));
    let new = json!({"newInstance": {"name": "Shop again", "subdomain": "shop"}});
    let restore = bench.try_restore(id, new).await.expect(202);
    bench.is_done(&restore).await;
    let it = It {
        id: restore["instanceId"].as_str().unwrap().parse().unwrap(),
        subdomain: "shop".to_owned(),
    };
    bench.until(&it, "running").await;
    assert_eq!(bench.see(&it).await["name"], "Shop again");
    assert_eq!(bench.read(&it, "marker").unwrap(), b"old");
    assert_eq!(credentials(&bench, &it), before);
}

fn made_for(restore: &Value, subdomain: &str) -> It {
    It {
        id: restore["instanceId"].as_str().unwrap().parse().unwrap(),
        subdomain: subdomain.to_owned(),
    }
}

fn staged(bench: &Bench, restore: &Value, name: &str) -> std::path::PathBuf {
    let folder = format!("instances/.restore-{}/new", restore["id"].as_str().unwrap());
    bench.t.data.path().join(folder).join(name)
}

/// Somebody looks away for so long that everything that waits is looked at.
async fn everything_is_looked_at(bench: &Bench) {
    bench.running("meanwhile").await;
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn a_new_instance_starts_with_its_data_and_never_empty(pool: PgPool) {
    let bench = quiet(pool).await;
    let it = bench.running("shop").await;
    bench.write(&it, "marker", "old");
    let id = bench.good(&it).await;
    let hold = Hold::at(&bench.t.pool, "update of entries on restores").await;
    let new = json!({"newInstance": {"name": "Shop again", "subdomain": "again"}});
    let restore = bench.try_restore(id, new).await.expect(202);
    let it = made_for(&restore, "again");
    hold.reached().await;
    assert!(staged(&bench, &restore, "marker").exists());
    everything_is_looked_at(&bench).await;
    let view = bench.see(&it).await;
    assert_eq!(view["status"], "creating");
    let why = view["statusDetail"].as_str().unwrap();
    assert!(why.contains("data"), "{why}");
    assert!(!bench.folder(&it).exists());
    assert_eq!(bench.runtime.count(Op::Create, it.key()), 0);
    hold.release().await;
    bench.is_done(&restore).await;
    let view = bench.until(&it, "running").await;
    assert_eq!(view["statusDetail"], Value::Null);
    assert_eq!(bench.runtime.count(Op::Start, it.key()), 1);
    assert_eq!(bench.read(&it, "marker").unwrap(), b"old");
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn a_new_instance_goes_again_when_nobody_puts_its_data_back(pool: PgPool) {
    let mut bench = quiet(pool).await;
    let it = bench.running("shop").await;
    let id = bench.good(&it).await;
    let hold = Hold::at(&bench.t.pool, "update of entries on restores").await;
    let new = json!({"newInstance": {"name": "Shop again", "subdomain": "again"}});
    let restore = bench.try_restore(id, new.clone()).await.expect(202);
    let it = made_for(&restore, "again");
    hold.reached().await;
    // The manager is gone, and what it was doing never comes to an end.
    bench.t.clock.advance(chrono::TimeDelta::minutes(3));
    bench.kill_and_start_anew().await;
    bench.until_gone(&it).await;
    let audited = bench.audited(&it).await;
    assert_eq!(audited.last().unwrap(), "instance.delete");
    hold.release().await;
    eventually("what was put beside is gone", async || {
        let folder = staged(&bench, &restore, "");
        (!folder.parent().unwrap().exists()).then_some(())
    })
    .await;
    // The same again.
    let restore = bench.try_restore(id, new).await.expect(202);
    bench.is_done(&restore).await;
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn into_a_new_instance_of_another_project(pool: PgPool) {
    let bench = quiet(pool).await;
    let it = bench.running("shop").await;
    bench.write(&it, "marker", "old");
    let id = bench.good(&it).await;
    let owner = bench.t.person("Owner").await;
    let there = bench.t.project(&owner).await;
    let path = super::bench::path_of(id, "restore");
    for (here_as, there_as, expected) in [
        ("member", None, (404, "project.not_found")),
        ("member", Some("viewer"), (403, "project.role_required")),
        ("viewer", Some("member"), (403, "project.role_required")),
        ("member", Some("member"), (202, "")),
    ] {
        let person = bench.t.person("Bo").await;
        bench.t.add_member(bench.project, &person, here_as).await;
        if let Some(role) = there_as {
            bench.t.add_member(there, &person, role).await;
        }
        let new = json!({"newInstance": {"name": "Copy", "subdomain": "copy", "projectId": there}});
        let answer = bench.t.post(&path, &person.who, new).await;
        assert_eq!(answer.refusal(), expected, "{here_as} {there_as:?}");
        if expected.0 == 202 {
            let it = made_for(&answer.json, "copy");
            let look = async |path: &str| bench.t.get(path, &person.who).await.expect(200);
            eventually("it runs", async || {
                (look(&it.path("")).await["status"] == "running").then_some(())
            })
            .await;
            assert_eq!(look(&it.path("")).await["projectId"], there.to_string());
            assert_eq!(
                look(&it.path("restores")).await["items"][0]["state"],
                "done"
            );
            assert_eq!(bench.read(&it, "marker").unwrap(), b"old");
        }
    }
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn what_is_deployed_while_it_is_unpacked_is_kept(pool: PgPool) {
    let bench = quiet(pool).await;
    let it = bench.running("shop").await;
    bench.write(&it, "marker", "old");
    let id = bench.good(&it).await;
    let hold = Hold::at(&bench.t.pool, "insert on snapshots").await;
    let restore = bench.try_restore(id, Value::Null).await.expect(202);
    hold.reached().await;
    let marker = staged(&bench, &restore, "marker");
    assert!(
        marker.exists(),
        "all is unpacked when the snapshot is taken"
    );
    hold.release().await;
    bench.is_done(&restore).await;
    let path = it.path("snapshots?kind=before-restore");
    let kept = bench.get(&path).await.expect(200);
    assert_eq!(kept["items"].as_array().unwrap().len(), 1);
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn where_a_pipeline_needs_an_owner_another_ones_backup_does_too(pool: PgPool) {
    let bench = quiet(pool).await;
    let (dev, prod) = (bench.running("dev").await, bench.running("prod").await);
    let (foreign, own) = (bench.good(&dev).await, bench.good(&prod).await);
    let stages = json!([{"instanceId": dev.id}, {"instanceId": prod.id, "needsOwner": true}]);
    let path = format!("/api/v1/projects/{}/pipelines", bench.project);
    let body = json!({"name": "Release", "stages": stages});
    bench.post(&path, body).await.expect(201);
    let member = bench.t.person("Mo").await;
    bench.t.add_member(bench.project, &member, "member").await;
    let into = json!({"instanceId": prod.id});
    let path = |id| super::bench::path_of(id, "restore");
    let answer = bench
        .t
        .post(&path(foreign), &member.who, into.clone())
        .await;
    assert_eq!(answer.refusal(), (403, "project.role_required"));
    let answer = bench.t.post(&path(own), &member.who, Value::Null).await;
    bench.is_done(&answer.expect(202)).await;
    let answer = bench.try_restore(foreign, into).await.expect(202);
    bench.is_done(&answer).await;
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn a_stopped_instance_stays_stopped(pool: PgPool) {
    let bench = quiet(pool).await;
    let it = bench.running("shop").await;
    bench.write(&it, "marker", "1");
    let id = bench.good(&it).await;
    bench.ask(&it, "stop", "stopped").await;
    bench.write(&it, "marker", "2");
    let restore = bench.try_restore(id, Value::Null).await.expect(202);
    bench.is_done(&restore).await;
    assert_eq!(bench.read(&it, "marker").unwrap(), b"1");
    assert_eq!(bench.see(&it).await["status"], "stopped");
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn two_at_once_are_one_and_a_refusal(pool: PgPool) {
    let bench = quiet(pool).await;
    let it = bench.running("shop").await;
    bench.write(&it, "marker", "1");
    let id = bench.good(&it).await;
    bench.write(&it, "marker", "2");
    let (a, b) = tokio::join!(
        bench.try_restore(id, Value::Null),
        bench.try_restore(id, Value::Null)
    );
    let (won, lost) = if a.status == 202 { (a, b) } else { (b, a) };
    assert_eq!(lost.refusal(), (409, "restore.under_way"));
    let restore = won.expect(202);
    bench.is_done(&restore).await;
    assert_eq!(bench.read(&it, "marker").unwrap(), b"1");
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn a_restore_waits_for_no_backup_but_is_refused(pool: PgPool) {
    let bench = quiet(pool).await;
    let it = bench.running("shop").await;
    let id = bench.good(&it).await;
    sqlx::query(
        "insert into backups (id, instance_id, project_id, instance_name, trigger, status, requested_by, engine, engine_version,
                              claimed_by, created_at)
         values ($1, $2, $3, 'shop', 'manual', 'running', 'x', 'node-red', '', $1, now())",
    )
    .bind(uuid::Uuid::now_v7())
    .bind(it.id)
    .bind(bench.project)
    .execute(&bench.t.pool)
    .await
    .unwrap();
    let answer = bench.try_restore(id, Value::Null).await;
    assert_eq!(answer.refusal(), (409, "restore.backup_runs"));
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn only_members_of_both_projects(pool: PgPool) {
    let bench = quiet(pool).await;
    let it = bench.running("shop").await;
    let id = bench.good(&it).await;
    let viewer = bench.t.person("Viewer").await;
    bench.t.add_member(bench.project, &viewer, "viewer").await;
    let own = bench.t.project(&viewer).await;
    let path = super::bench::path_of(id, "restore");
    let new = json!({"newInstance": {"name": "Mine", "subdomain": "mine", "projectId": own}});
    let answer = bench.t.post(&path, &viewer.who, new).await;
    assert_eq!(answer.refusal(), (403, "project.role_required"));
    let stranger = bench.t.person("Stranger").await;
    let theirs = bench.t.project(&stranger).await;
    let answer = bench.t.post(&path, &stranger.who, Value::Null).await;
    assert_eq!(answer.refusal(), (404, "backup.not_found"));
    let new =
        json!({"newInstance": {"name": "Theirs", "subdomain": "theirs", "projectId": theirs}});
    let answer = bench.try_restore(id, new).await;
    assert_eq!(answer.refusal(), (404, "project.not_found"));
    let both = json!({"instanceId": it.id, "newInstance": {"name": "x", "subdomain": "x"}});
    let answer = bench.try_restore(id, both).await;
    assert_eq!(answer.refusal(), (422, "backup.two_targets"));
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn into_an_n8n_that_runs_and_does_not_answer(pool: PgPool) {
    let bench = quiet(pool).await;
    bench.runtime.start_on_this_host();
    let stack = bench.made_stack("n8n", "openflow/n8n:1", "ready").await;
    let it = bench.create_with("n8n", json!({"stack": stack})).await;
    bench.until(&it, "running").await;
    bench.write(&it, "marker", "before");
    let id = bench.good(&it).await;
    bench.write(&it, "marker", "after");
    bench.n8n_is_read();
    let restore = bench.try_restore(id, Value::Null).await.expect(202);
    bench.is_done(&restore).await;
    assert_eq!(bench.read(&it, "marker").unwrap(), b"before");
    let kept = bench.get(&it.path("snapshots")).await.expect(200);
    assert_eq!(kept["items"][0]["kind"], "before-restore", "{kept:#}");
}
