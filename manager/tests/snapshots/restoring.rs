use openflow_manager::{
    engines::node_red::credentials as node_red,
    runtime::{FakeProbe, Op},
};
use serde_json::{Value, json};
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use crate::{
    flows::{deploy, flows, found, list, over, password, path_of, plan, restore, secret, take},
    support::instances::{Bench, eventually},
};

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn a_rollback_brings_back_flows_and_credentials_and_keeps_what_was_there(pool: PgPool) {
    let bench = Bench::new(pool).await;
    let it = bench.running("wf1").await;
    deploy(&bench, &it, &flows("first"), &password("one"));
    let first = take(&bench, &it, "first").await;
    deploy(&bench, &it, &flows("second"), &password("two"));
    let told = plan(&bench, &first, Value::Null).await;
    assert_eq!(
        told["diff"]["nodes"]["changed"][0]["fields"][0]["to"],
        "first"
    );
    assert_eq!(
        told["credentials"],
        json!({"carried": 1, "kept": 0, "missing": []})
    );
    assert_eq!(told["blockers"], json!([]));
    assert_eq!(
        found(&bench, &it).0,
        flows("second"),
        "a dry run changes nothing"
    );
    let starts = bench.runtime.count(Op::Start, it.key());

    let begun = restore(&bench, &first, json!({})).await.expect(202);
    assert_eq!(begun["kind"], "snapshot");
    assert_eq!(begun["sourceId"], first["id"]);
    let done = over(&bench, &begun).await;
    assert_eq!(
        (&done["state"], &done["detail"]),
        (&json!("done"), &Value::Null)
    );
    assert_eq!(found(&bench, &it), (flows("first"), password("one")));
    assert_eq!(bench.runtime.count(Op::Start, it.key()), starts + 1);
    bench.until(&it, "running").await;

    // And forward again.
    let kept = list(&bench, &it, "?kind=before-restore").await;
    assert_eq!(kept[0]["name"], "Before restoring first");
    assert_eq!(kept[0]["author"], "Ada");
    let begun = restore(&bench, &kept[0], Value::Null).await.expect(202);
    assert_eq!(over(&bench, &begun).await["state"], "done");
    assert_eq!(found(&bench, &it), (flows("second"), password("two")));
    let audited = bench.audited(&it).await;
    let count = |action: &str| audited.iter().filter(|it| *it == action).count();
    assert_eq!(
        (count("instance.restore"), count("instance.restored")),
        (2, 2)
    );
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn what_does_not_become_healthy_is_put_back(pool: PgPool) {
    let bench = Bench::new(pool).await;
    let it = bench.running("wf1").await;
    deploy(&bench, &it, &flows("bad"), &password("one"));
    let bad = take(&bench, &it, "bad").await;
    deploy(&bench, &it, &flows("good"), &password("two"));
    let before = bench.runtime.count(Op::Start, it.key());
    bench.runtime.set_probe(it.key(), FakeProbe::Never);
    let begun = restore(&bench, &bad, Value::Null).await.expect(202);
    bench
        .until_it(&it, "it is on trial", |_| {
            found(&bench, &it).0 == flows("bad")
        })
        .await;
    let probes = bench.runtime.count(Op::Probe, it.key());
    eventually("it is started and looked at", async || {
        let started = bench.runtime.count(Op::Start, it.key()) > before;
        (started && bench.runtime.count(Op::Probe, it.key()) > probes + 1).then_some(())
    })
    .await;
    bench
        .until_it(&it, "it was put back", |_| {
            // Each time anew: another look at it begins another wait.
            bench.t.clock.advance(chrono::TimeDelta::seconds(121));
            found(&bench, &it).0 == flows("good")
        })
        .await;
    bench
        .runtime
        .set_probe(it.key(), FakeProbe::Healthy { after: 0 });
    let undone = over(&bench, &begun).await;
    assert_eq!(undone["state"], "undone");
    assert!(undone["detail"].as_str().unwrap().contains("healthy"));
    assert_eq!(found(&bench, &it), (flows("good"), password("two")));
    bench.until(&it, "running").await;
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn of_two_restores_at_once_one_is_refused(pool: PgPool) {
    let bench = Bench::new(pool).await;
    let it = bench.running("wf1").await;
    deploy(&bench, &it, &flows("a"), &password("one"));
    let a = take(&bench, &it, "a").await;
    bench.runtime.set_probe(it.key(), FakeProbe::Never);
    let (one, two) = tokio::join!(
        restore(&bench, &a, Value::Null),
        restore(&bench, &a, Value::Null)
    );
    let mut statuses = [one.status, two.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [202, 409], "{} {}", one.json, two.json);
    let third = restore(&bench, &a, Value::Null).await;
    assert_eq!(third.refusal(), (409, "restore.under_way"));
    let told = plan(&bench, &a, Value::Null).await;
    assert!(told["blockers"][0].as_str().unwrap().contains("under way"));
    assert_eq!(list(&bench, &it, "?kind=before-restore").await.len(), 1);
    bench
        .runtime
        .set_probe(it.key(), FakeProbe::Healthy { after: 0 });
    let begun = if one.status == 202 { one } else { two };
    assert_eq!(over(&bench, &begun.json).await["state"], "done");
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn flows_that_are_just_being_written_are_not_given_up_for_broken(pool: PgPool) {
    let bench = Bench::new(pool).await;
    let it = bench.running("wf1").await;
    deploy(&bench, &it, &flows("a"), &password("one"));
    let a = take(&bench, &it, "a").await;
    let stop = CancellationToken::new();
    let stops = stop.clone().drop_guard(); // also when the test fails
    let writer = {
        let (stop, folder, secret) = (stop.clone(), bench.folder(&it), secret(&bench, &it));
        tokio::task::spawn_blocking(move || {
            while !stop.is_cancelled() {
                let credentials = password("one");
                // Each time anew: another initialization vector.
                let file = node_red::seal(&secret, credentials.as_object().unwrap());
                std::fs::write(folder.join("beside"), file).unwrap();
                std::fs::rename(folder.join("beside"), folder.join("flows_cred.json")).unwrap();
            }
        })
    };
    let path = path_of(&a, "/restore?dryRun=true");
    eventually("they are found being written", async || {
        let answer = bench.post(&path, Value::Null).await;
        if answer.status == 200 {
            let warnings = answer.json["warnings"].to_string();
            assert!(!warnings.contains("cannot be kept"), "{warnings}");
            return None;
        }
        assert_eq!(answer.refusal(), (503, "snapshot.busy"));
        Some(())
    })
    .await;
    drop(stops);
    writer.await.unwrap();
    let begun = restore(&bench, &a, Value::Null).await.expect(202);
    assert_eq!(over(&bench, &begun).await["state"], "done");
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn a_stopped_instance_is_restored_and_stays_stopped(pool: PgPool) {
    let bench = Bench::new(pool).await;
    let it = bench.running("wf1").await;
    deploy(&bench, &it, &flows("a"), &password("one"));
    let a = take(&bench, &it, "a").await;
    deploy(&bench, &it, &flows("b"), &password("two"));
    let secret = crate::flows::secret(&bench, &it);
    bench.ask(&it, "stop", "stopped").await;
    let begun = restore(&bench, &a, Value::Null).await.expect(202);
    assert_eq!(over(&bench, &begun).await["state"], "done");
    bench.until(&it, "stopped").await;
    let file = std::fs::read(bench.folder(&it).join("flows_cred.json")).unwrap();
    let opened = openflow_manager::engines::node_red::credentials::open(&secret, &file).unwrap();
    assert_eq!(Value::Object(opened), password("one"));
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn only_the_newest_states_before_restores_are_kept_and_never_at_the_cost_of_the_one_restored(
    pool: PgPool,
) {
    let bench = Bench::new(pool).await;
    let it = bench.running("wf1").await;
    deploy(&bench, &it, &flows("a"), &password("one"));
    take(&bench, &it, "a").await;
    sqlx::query("update snapshots set kind = 'before-restore'")
        .execute(&bench.t.pool)
        .await
        .unwrap();
    // Newer ones, and older ones.
    for n in [19, 5] {
        sqlx::query(
            "insert into snapshots select case when $1 = 5 then gen_random_uuid() else ('ffffffff-0000-7000-8000-' || lpad(n::text, 12, '0'))::uuid end,
               instance_id, project_id, kind, name, description, author, engine, engine_version, nodes, tabs, modules, flows, null,
               credentials_sealed, credential_digests, content_digest, credentials, size_bytes, created_at
             from (select * from snapshots limit 1) it, generate_series(1, $1) n",
        )
        .bind(n)
        .execute(&bench.t.pool)
        .await
        .unwrap();
    }
    let all = list(&bench, &it, "?kind=before-restore&limit=200").await;
    let a = all
        .iter()
        .find(|it| it["id"].as_str().unwrap().starts_with("01"))
        .unwrap();
    let begun = restore(&bench, a, Value::Null).await.expect(202);
    over(&bench, &begun).await;
    let kept = list(&bench, &it, "?kind=before-restore&limit=200").await;
    assert!(kept.iter().any(|it| it["id"] == a["id"]));
    assert!((20..=21).contains(&kept.len()), "{}", kept.len());
}
