use chrono::TimeDelta;
use openflow_manager::runtime::{ContainerState, FakeProbe, Op};
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::support::instances::{Bench, It, eventually};

fn detail(view: &Value) -> &str {
    view["statusDetail"].as_str().unwrap_or_default()
}

/// Crashes it so often, one after the other, each time when it is up again.
async fn crash(bench: &Bench, it: &It, times: usize) {
    for _ in 0..times {
        let before = crashes(bench, it).await;
        bench.runtime.crash(it.key(), 1);
        eventually("the crash was counted", async || {
            let state = bench.runtime.container(it.key()).map(|it| it.state);
            let counted = crashes(bench, it).await > before;
            (counted && state == Some(ContainerState::Running)).then_some(())
        })
        .await;
    }
}

async fn crashes(bench: &Bench, it: &It) -> i32 {
    sqlx::query_scalar("select crash_count from instances where id = $1")
        .bind(it.id)
        .fetch_one(&bench.t.pool)
        .await
        .unwrap()
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn a_container_that_was_tampered_with_comes_back(pool: PgPool) {
    let bench = Bench::new(pool).await;
    let it = bench.running("wf1").await;
    type Tamper = fn(&Bench, &It);
    let table: [(&str, Tamper); 4] = [
        ("killed", |bench, it| bench.runtime.kill(it.key())),
        ("removed", |bench, it| {
            bench.runtime.remove_by_hand(it.key())
        }),
        ("paused", |bench, it| bench.runtime.pause_by_hand(it.key())),
        ("crashed", |bench, it| bench.runtime.crash(it.key(), 1)),
    ];
    for (what, tamper) in table {
        let upstream = bench.feed().await["routes"][0]["upstream"].clone();
        tamper(&bench, &it);
        eventually("it runs again", async || {
            let container = bench.runtime.container(it.key())?;
            (container.state == ContainerState::Running).then_some(())
        })
        .await;
        let view = bench.until(&it, "running").await;
        assert_eq!(view["statusDetail"], Value::Null, "{what}");
        if matches!(what, "killed" | "removed") {
            // It has another address now, and the proxy learns it.
            bench
                .until_feed("the proxy learns the new address", |feed| {
                    feed["routes"][0]["upstream"].is_string()
                        && feed["routes"][0]["upstream"] != upstream
                })
                .await;
        }
    }
    assert_eq!(
        bench
            .runtime
            .calls()
            .iter()
            .filter(|it| it.op == Op::Remove)
            .count(),
        0
    );
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn a_crash_is_told_with_its_reason_and_the_last_lines(pool: PgPool) {
    let bench = Bench::new(pool).await;
    let it = bench.running("wf1").await;
    for line in ["one", "two", "three", "four", "five", "Error: kaboom"] {
        bench.runtime.write_log(it.key(), line);
    }
    bench.runtime.crash_looping(it.key(), 7);
    let view = bench.until(&it, "crashed").await;
    assert!(detail(&view).contains("exit code 7"), "{view}");
    assert!(detail(&view).contains("kaboom"), "{view}");
    assert!(!detail(&view).contains("one"), "{view}");
    let launch = bench.post(&it.path("launch"), Value::Null).await;
    assert_eq!(launch.refusal(), (409, "instance.not_running"));
    bench
        .until_feed("it is not routed", |feed| {
            let route = &feed["routes"][0];
            route["state"] == "crashed" && route["upstream"].is_null()
        })
        .await;
    bench.ask(&it, "restart", "running").await;
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn a_program_that_says_why_it_cannot_start_is_not_tried_in_a_loop(pool: PgPool) {
    let bench = Bench::new(pool).await;
    let it = bench.running("wf1").await;
    bench.runtime.crash_looping(it.key(), 78);
    let view = bench.until(&it, "crashed").await;
    assert!(detail(&view).contains("exit code 78"), "untold: {view}");
    bench.ask(&it, "restart", "running").await;

    for line in ["Initializing", "openflow: The data are damaged.", "bye"] {
        bench.runtime.write_log(it.key(), line);
    }
    bench.runtime.crash_looping(it.key(), 78);
    let view = bench.until(&it, "failed").await;
    assert_eq!(detail(&view), "The data are damaged.");
    let state = bench.runtime.container(it.key()).map(|it| it.state);
    assert_eq!(state, Some(ContainerState::Exited));
    assert_eq!(crashes(&bench, &it).await, 0);
    bench.ask(&it, "restart", "running").await;
    let view = bench.until(&it, "running").await;
    assert_eq!(view["statusDetail"], Value::Null);
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn running_out_of_memory_is_named(pool: PgPool) {
    let bench = Bench::new(pool).await;
    let it = bench.running("wf1").await;
    bench.runtime.run_out_of_memory(it.key());
    let view = bench.until(&it, "crashed").await;
    assert!(detail(&view).contains("out of memory"), "{view}");
    bench.ask(&it, "restart", "running").await;
    // V8's own limit.
    bench.runtime.crash_looping(it.key(), 134);
    let view = bench.until(&it, "crashed").await;
    assert!(detail(&view).contains("out of memory"), "{view}");
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn a_crash_loop_ends_in_safe_mode_and_a_restart_leaves_it(pool: PgPool) {
    let bench = Bench::new(pool).await;
    let it = bench.running("wf1").await;
    bench
        .runtime
        .write_log(it.key(), "TypeError: x is not a function");
    crash(&bench, &it, 5).await;
    let view = bench.until(&it, "safe_mode").await;
    assert!(
        detail(&view).contains("safe mode after 5 crashes"),
        "{view}"
    );
    assert!(detail(&view).contains("exit code 1"), "{view}");
    assert!(detail(&view).contains("TypeError"), "{view}");
    assert_eq!(
        bench.env_of(&it, "OPENFLOW_SAFE_MODE").as_deref(),
        Some("true")
    );
    assert_eq!(view["restartNeeded"], false);
    let route = bench
        .until_feed("it is routed", |feed| {
            feed["routes"][0]["state"] == "safe_mode"
        })
        .await["routes"][0]
        .clone();
    assert!(route["upstream"].is_string());
    // The editor is open to whoever mends the flow.
    bench
        .post(&it.path("launch"), Value::Null)
        .await
        .expect(200);

    let view = bench.ask(&it, "restart", "running").await;
    assert_eq!(view["statusDetail"], Value::Null);
    assert_eq!(bench.env_of(&it, "OPENFLOW_SAFE_MODE"), None);
    // The count begins anew.
    crash(&bench, &it, 4).await;
    bench.until(&it, "running").await;
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn a_start_leaves_safe_mode_too(pool: PgPool) {
    let bench = Bench::new(pool).await;
    let it = bench.running("wf1").await;
    crash(&bench, &it, 5).await;
    bench.until(&it, "safe_mode").await;
    bench.ask(&it, "start", "running").await;
    crash(&bench, &it, 5).await;
    bench.until(&it, "safe_mode").await;
    bench.ask(&it, "stop", "stopped").await;
    bench.ask(&it, "start", "running").await;
    assert_eq!(bench.env_of(&it, "OPENFLOW_SAFE_MODE"), None);
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn safe_mode_survives_a_new_manager(pool: PgPool) {
    let mut bench = Bench::new(pool).await;
    let it = bench.running("wf1").await;
    crash(&bench, &it, 5).await;
    let before = bench.until(&it, "safe_mode").await;
    let container = bench.runtime.container(it.key());
    bench.t.kill().await;
    bench.runtime.clear_calls();
    bench.kill_and_start_anew().await;
    eventually("it was looked at", async || {
        (bench.runtime.count(Op::Probe, it.key()) > 0).then_some(())
    })
    .await;
    bench.running("wf2").await;
    assert_eq!(bench.see(&it).await, before);
    assert_eq!(bench.runtime.container(it.key()), container);
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn one_that_crashes_in_safe_mode_too_is_left_alone_for_a_while(pool: PgPool) {
    let bench = Bench::new(pool).await;
    let it = bench.running("wf1").await;
    crash(&bench, &it, 5).await;
    bench.until(&it, "safe_mode").await;
    crash(&bench, &it, 2).await;
    bench.until(&it, "safe_mode").await;
    bench.runtime.crash(it.key(), 1);
    let view = bench.until(&it, "crashed").await;
    assert!(detail(&view).contains("next try in five minutes"), "{view}");
    eventually("it is stopped", async || {
        let container = bench.runtime.container(it.key())?;
        (container.state == ContainerState::Exited).then_some(())
    })
    .await;
    // Looking again does not start it before it is due.
    let starts = bench.runtime.count(Op::Start, it.key());
    bench.patch(&it, json!({"name": "Looked at"})).await;
    bench.running("wf2").await;
    assert_eq!(bench.runtime.count(Op::Start, it.key()), starts);

    bench.t.clock.advance(TimeDelta::minutes(6));
    bench.patch(&it, json!({"name": "Looked at again"})).await;
    bench.until(&it, "safe_mode").await;
    // Or somebody restarts it at once.
    bench.runtime.crash(it.key(), 1);
    bench.until(&it, "crashed").await;
    bench.ask(&it, "restart", "running").await;
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn rare_crashes_do_not_add_up(pool: PgPool) {
    let bench = Bench::new(pool).await;
    let it = bench.running("wf1").await;
    for _ in 0..3 {
        crash(&bench, &it, 2).await;
        bench.until(&it, "running").await;
        bench.t.clock.advance(TimeDelta::minutes(11));
        bench.patch(&it, json!({"name": "Calm"})).await;
        eventually("the crashes are forgiven", async || {
            (crashes(&bench, &it).await == 0).then_some(())
        })
        .await;
    }
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn one_that_does_not_answer_is_unhealthy_and_comes_back(pool: PgPool) {
    let bench = Bench::new(pool).await;
    let it = bench.running("wf1").await;
    bench.runtime.set_probe(it.key(), FakeProbe::Never);
    bench.patch(&it, json!({"name": "Looked at"})).await;
    let view = bench.until(&it, "unhealthy").await;
    assert!(detail(&view).contains("does not answer"), "{view}");
    // It may still answer callers: it stays routed.
    bench
        .until_feed("the proxy is told", |feed| {
            feed["routes"][0]["state"] == "unhealthy"
        })
        .await;
    assert_eq!(bench.runtime.count(Op::Stop, it.key()), 0);
    bench
        .runtime
        .set_probe(it.key(), FakeProbe::Healthy { after: 0 });
    bench.until(&it, "running").await;
}
