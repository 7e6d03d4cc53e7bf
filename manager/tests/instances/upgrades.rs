use chrono::TimeDelta;
use openflow_manager::runtime::{FakeProbe, Op};
use serde_json::{Value, json};
use sqlx::PgPool;
use uuid::Uuid;

use crate::support::instances::{Bench, It, eventually};

const OLD: &str = "openflow/node-red:5";
const NEW: &str = "openflow/node-red:6";

fn image(bench: &Bench, it: &It) -> Option<String> {
    Some(bench.runtime.spec(it.key())?.image)
}

/// An instance in the middle of its upgrade: the new container is up, and
/// does not answer.
async fn upgrading(bench: &Bench, stack: Uuid) -> It {
    let it = bench.running("wf1").await;
    bench.runtime.set_probe(it.key(), FakeProbe::Never);
    bench.patch(&it, json!({"stackId": stack})).await;
    eventually("the new container is looked at", async || {
        (image(bench, &it)? == NEW).then_some(())
    })
    .await;
    let probes = bench.runtime.count(Op::Probe, it.key());
    eventually("the new container is looked at", async || {
        (bench.runtime.count(Op::Probe, it.key()) > probes + 1).then_some(())
    })
    .await;
    it
}

/// It went back, says so, and the log has it.
async fn undone(bench: &Bench, it: &It, why: &str) {
    let view = bench
        .until_it(it, "the upgrade is undone", |it| {
            let detail = it["statusDetail"].as_str().unwrap_or_default();
            it["status"] == "running" && detail.contains("was undone")
        })
        .await;
    let detail = view["statusDetail"].as_str().unwrap();
    assert!(
        detail.contains(why) && detail.contains("Node-RED again"),
        "{detail}"
    );
    assert_eq!(image(bench, it).unwrap(), OLD);
    let stacks = bench.get("/api/v1/stacks").await.expect(200);
    assert_eq!(view["stackId"], stacks["items"][0]["id"]);
    let path = format!(
        "/api/v1/audit?projectId={}&action=instance.rollback",
        bench.project
    );
    let audit = bench.get(&path).await.expect(200);
    let entries = audit["items"].as_array().unwrap();
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0]["actor"]["kind"], "system");
    assert!(entries[0]["detail"]["why"].as_str().unwrap().contains(why));
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn an_upgrade_takes_effect_at_once(pool: PgPool) {
    let bench = Bench::new(pool).await;
    let stack = bench.stack(NEW).await;
    let it = bench.running("wf1").await;
    let file = bench.folder(&it).join("flows.json");
    std::fs::write(&file, "[]").unwrap();
    bench.patch(&it, json!({"stackId": stack})).await;
    eventually("the new image runs", async || {
        (image(&bench, &it)? == NEW).then_some(())
    })
    .await;
    let view = bench.until(&it, "running").await;
    assert_eq!(view["stackId"], json!(stack));
    assert_eq!(view["restartNeeded"], false);
    assert_eq!(view["statusDetail"], Value::Null);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "[]");
    // And back, by hand.
    let stacks = bench.get("/api/v1/stacks").await.expect(200);
    bench
        .patch(&it, json!({"stackId": stacks["items"][0]["id"]}))
        .await;
    eventually("the old image runs", async || {
        (image(&bench, &it)? == OLD).then_some(())
    })
    .await;
    bench.until(&it, "running").await;
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn a_stopped_instance_is_upgraded_when_it_starts(pool: PgPool) {
    let bench = Bench::new(pool).await;
    let stack = bench.stack(NEW).await;
    let it = bench.running("wf1").await;
    bench.ask(&it, "stop", "stopped").await;
    bench.patch(&it, json!({"stackId": stack})).await;
    bench.ask(&it, "start", "running").await;
    assert_eq!(image(&bench, &it).unwrap(), NEW);
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn an_upgrade_that_does_not_become_healthy_is_undone(pool: PgPool) {
    let bench = Bench::new(pool).await;
    let stack = bench.stack(NEW).await;
    let it = upgrading(&bench, stack).await;
    eventually("the old image is back", async || {
        // Each time anew: another look at it begins another wait.
        bench.t.clock.advance(TimeDelta::minutes(3));
        (image(&bench, &it)? == OLD).then_some(())
    })
    .await;
    bench
        .runtime
        .set_probe(it.key(), FakeProbe::Healthy { after: 0 });
    undone(&bench, &it, "did not become healthy").await;
    // The next start forgets it.
    let view = bench.ask(&it, "restart", "running").await;
    assert_eq!(view["statusDetail"], Value::Null);
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn an_upgrade_that_crashes_is_undone(pool: PgPool) {
    let bench = Bench::new(pool).await;
    let stack = bench.stack(NEW).await;
    let it = upgrading(&bench, stack).await;
    bench.runtime.write_log(it.key(), "Error: kaboom");
    bench
        .runtime
        .set_probe(it.key(), FakeProbe::Healthy { after: 0 });
    // It cannot have become healthy in between: it is down before it answers.
    bench.runtime.crash_looping(it.key(), 1);
    undone(&bench, &it, "crashed").await;
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn an_upgrade_whose_image_is_missing_is_undone(pool: PgPool) {
    let bench = Bench::new(pool).await;
    let stack = bench.stack(NEW).await;
    let it = bench.running("wf1").await;
    bench.runtime.remove_image(NEW);
    bench.patch(&it, json!({"stackId": stack})).await;
    undone(&bench, &it, "is not on this host").await;
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn an_upgrade_is_undone_by_the_next_manager_too(pool: PgPool) {
    let mut bench = Bench::new(pool).await;
    let stack = bench.stack(NEW).await;
    let it = upgrading(&bench, stack).await;
    bench.kill_and_start_anew().await;
    let probes = bench.runtime.count(Op::Probe, it.key());
    eventually("the new manager waits for it", async || {
        (bench.runtime.count(Op::Probe, it.key()) > probes + 1).then_some(())
    })
    .await;
    eventually("the old image is back", async || {
        // Each time anew: another look at it begins another wait.
        bench.t.clock.advance(TimeDelta::minutes(3));
        (image(&bench, &it)? == OLD).then_some(())
    })
    .await;
    bench
        .runtime
        .set_probe(it.key(), FakeProbe::Healthy { after: 0 });
    undone(&bench, &it, "did not become healthy").await;
}
