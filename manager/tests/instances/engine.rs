//! The container engine in trouble.
use openflow_manager::{
    kernel::{InstanceId, ProjectId},
    runtime::{ContainerState, Error, Op, Runtime as _},
};
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::support::{
    Who,
    instances::{Bench, It, eventually},
};

async fn failed(bench: &Bench, it: &It, words: &[&str]) {
    let view = bench.until(it, "failed").await;
    let detail = view["statusDetail"].as_str().unwrap();
    for word in words {
        assert!(detail.contains(word), "{detail}");
    }
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn a_missing_image_is_named_and_heals_when_it_appears(pool: PgPool) {
    let bench = Bench::new(pool).await;
    bench.runtime.remove_image("openflow/node-red:5");
    let it = bench.create("wf1").await;
    failed(&bench, &it, &["openflow/node-red:5", "not on this host"]).await;
    let launch = bench.post(&it.path("launch"), Value::Null).await;
    assert_eq!(launch.refusal(), (409, "instance.not_running"));
    bench
        .runtime
        .add_image("openflow/node-red:5", Default::default());
    let view = bench.until(&it, "running").await;
    assert_eq!(view["statusDetail"], Value::Null);
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn a_foreign_container_of_that_name_is_left_alone(pool: PgPool) {
    let bench = Bench::new(pool).await;
    bench.runtime.take_name("nodered-wf1");
    let it = bench.create("wf1").await;
    failed(&bench, &it, &["nodered-wf1", "exists already"]).await;
    bench.runtime.free_name("nodered-wf1");
    bench.until(&it, "running").await;
    // A name that cannot be taken does not disturb one that runs.
    bench.runtime.take_name("nodered-wf2");
    bench.patch(&it, json!({"subdomain": "wf2"})).await;
    eventually("it was tried", async || {
        (bench.runtime.count(Op::Rename, it.key()) > 0).then_some(())
    })
    .await;
    bench.until(&it, "running").await;
    assert_eq!(bench.runtime.count(Op::Stop, it.key()), 0);
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn what_the_engine_refuses_is_tried_again(pool: PgPool) {
    let bench = Bench::new(pool).await;
    for (n, op) in [Op::EnsureNetwork, Op::Create, Op::Start]
        .into_iter()
        .enumerate()
    {
        bench.runtime.fail_next(op, Error::Refused("kaboom".into()));
        let it = bench.create(&format!("wf{n}")).await;
        failed(&bench, &it, &["kaboom"]).await;
        bench.until(&it, "running").await;
    }
    // Nothing is lost when a stop or a removal is refused, either.
    let it = bench.running("stops").await;
    bench
        .runtime
        .fail_next(Op::Stop, Error::Refused("kaboom".into()));
    bench.ask(&it, "stop", "stopped").await;
    bench
        .runtime
        .fail_next(Op::Remove, Error::Refused("kaboom".into()));
    bench
        .call("DELETE", &it.path(""), Value::Null)
        .await
        .expect(202);
    bench.until_gone(&it).await;
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn while_the_engine_is_away_requests_are_taken_and_then_done(pool: PgPool) {
    let bench = Bench::new(pool).await;
    let (up, down) = (bench.running("wf1").await, bench.running("wf2").await);
    let before = bench.see(&up).await;
    bench.runtime.set_away(true);

    let ready = bench
        .t
        .get("/api/v1/health/ready", &Who::Nobody)
        .await
        .expect(200);
    assert_eq!(ready["status"], "degraded");
    assert_eq!(ready["dependencies"]["docker"]["status"], "down");
    assert_eq!(ready["dependencies"]["database"]["status"], "up");

    let new = bench.create("wf3").await;
    let view = bench
        .until_it(&new, "it says what it waits for", |it| {
            it["statusDetail"].is_string()
        })
        .await;
    assert_eq!(view["status"], "creating");
    assert!(
        view["statusDetail"].as_str().unwrap().contains("Docker"),
        "{view}"
    );
    bench
        .post(&down.path("stop"), Value::Null)
        .await
        .expect(202);
    for path in ["logs", "stats"] {
        let answer = bench.get(&up.path(path)).await;
        assert_eq!(answer.refusal(), (503, "runtime.unavailable"), "{path}");
        assert!(answer.headers.contains_key("retry-after"));
    }
    // What ran probably still does: it stays as it was, and routed.
    assert_eq!(bench.see(&up).await, before);

    bench.runtime.set_away(false);
    bench.until(&new, "running").await;
    bench.until(&down, "stopped").await;
    assert_eq!(bench.see(&up).await, before);
    assert_eq!(bench.runtime.count(Op::Start, up.key()), 1);
    let ready = bench
        .t
        .get("/api/v1/health/ready", &Who::Nobody)
        .await
        .expect(200);
    assert_eq!(ready["status"], "ok");
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn what_happened_while_events_were_lost_is_caught_up_with(pool: PgPool) {
    let bench = Bench::new(pool).await;
    let (killed, removed) = (bench.running("wf1").await, bench.running("wf2").await);
    bench.runtime.drop_event_streams();
    bench.runtime.kill(killed.key());
    bench.runtime.remove_by_hand(removed.key());
    for it in [&killed, &removed] {
        eventually("it runs again", async || {
            let container = bench.runtime.container(it.key())?;
            (container.state == ContainerState::Running).then_some(())
        })
        .await;
        bench.until(it, "running").await;
    }
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn an_orphaned_container_goes_and_its_data_stays(pool: PgPool) {
    let mut bench = Bench::new(pool).await;
    let it = bench.running("wf1").await;
    // As a container whose row is not in the database that was restored.
    let mut spec = bench.runtime.spec(it.key()).unwrap();
    let orphan = InstanceId::new();
    let folder = bench
        .t
        .data
        .path()
        .join("instances")
        .join(orphan.to_string());
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("flows.json"), "[]").unwrap();
    (spec.instance, spec.project, spec.name) = (orphan, ProjectId::new(), "nodered-lost".into());
    bench.t.kill().await;
    bench.runtime.create(&spec).await.unwrap();
    bench.runtime.start(orphan).await.unwrap();
    bench.kill_and_start_anew().await;
    eventually("the orphan is gone", async || {
        bench.runtime.container(orphan).is_none().then_some(())
    })
    .await;
    assert!(folder.join("flows.json").exists());
    assert_eq!(bench.see(&it).await["status"], "running");
    assert_eq!(bench.runtime.count(Op::Remove, it.key()), 0);
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn logs_and_stats(pool: PgPool) {
    use openflow_manager::runtime::Stats;
    let bench = Bench::new(pool).await;
    let it = bench.running("wf1").await;
    let stats = Stats {
        cpu_percent: 12.5,
        memory_bytes: 7,
        memory_limit_bytes: 8,
        network_rx_bytes: 9,
        network_tx_bytes: 10,
        pids: 11,
    };
    bench.runtime.set_stats(it.key(), stats);
    std::fs::write(bench.folder(&it).join("flows.json"), "x".repeat(10_000)).unwrap();
    let view = bench.get(&it.path("stats")).await.expect(200);
    assert_eq!(view["cpuPercent"], 12.5);
    assert_eq!(view["memoryBytes"], 7);
    assert!(view["diskBytes"].as_u64().unwrap() >= 10_000);

    for n in 0..5 {
        bench.runtime.write_log(it.key(), &format!("line {n}"));
    }
    assert_eq!(
        text(&bench, &it.path("logs?tail=2")).await,
        "line 3\nline 4\n"
    );
    assert_eq!(text(&bench, &it.path("logs?tail=0")).await, "");
    assert_eq!(text(&bench, &it.path("logs")).await.lines().count(), 5);
    bench.ask(&it, "stop", "stopped").await;
    assert_eq!(text(&bench, &it.path("logs")).await.lines().count(), 5);
    bench.runtime.remove_by_hand(it.key());
    assert_eq!(text(&bench, &it.path("logs")).await, "");
    let gone = bench.get(&it.path("stats")).await;
    assert_eq!(gone.refusal(), (409, "instance.no_container"));
}

async fn text(bench: &Bench, path: &str) -> String {
    use axum::{
        body::{Body, to_bytes},
        http::Request,
    };
    use tower::ServiceExt as _;
    let Who::Cookie(cookie) = &bench.ada.who else {
        unreachable!()
    };
    let request = Request::get(path)
        .header("cookie", format!("__Host-openflow_session={cookie}"))
        .body(Body::empty())
        .unwrap();
    let response = bench.t.router.clone().oneshot(request).await.unwrap();
    assert_eq!(response.status(), 200);
    let bytes = to_bytes(response.into_body(), 1 << 16).await.unwrap();
    String::from_utf8(bytes.to_vec()).unwrap()
}
