//! Putting backups back.
use serde_json::{Value, json};
use sqlx::PgPool;

use super::bench::{WithBackups as _, credentials, quiet};
use crate::support::instances::It;

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
