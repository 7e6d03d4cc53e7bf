//! The manager is killed in the middle of something, at every step of it.
use std::time::Duration;

use openflow_manager::runtime::Moment;
use serde_json::{Value, json};
use sqlx::PgPool;
use tokio::time::timeout;

use crate::support::instances::{Bench, It};

/// Long enough for a hang to happen; a way that is over does not hang.
const PATIENCE: Duration = Duration::from_secs(30);
/// No way has so many steps.
const STEPS_MAX: usize = 60;

/// Whether the manager came to hang before the instance got to `status`.
async fn hung(bench: &Bench, it: &It, status: &str) -> bool {
    let arrived = async {
        loop {
            let answer = bench.get(&it.path("")).await;
            if answer.status == 404 || answer.json["status"] == status {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let hung = async {
        tokio::select! {
            () = bench.runtime.hung() => true,
            () = arrived => false,
        }
    };
    timeout(PATIENCE, hung).await.unwrap()
}

/// One that hangs is dead; one that got through is killed, too, in case it
/// came to hang a moment later.
async fn kill(bench: &mut Bench) {
    bench.runtime.heal();
    bench.kill_and_start_anew().await;
}

fn hang_at(bench: &Bench, nth: usize, moment: Moment) {
    bench
        .runtime
        .hang_on(|call| call.instance.is_some(), nth, moment);
}

async fn delete(bench: &Bench, it: &It) {
    bench
        .call("DELETE", &it.path(""), Value::Null)
        .await
        .expect(202);
    bench.until_gone(it).await;
}

/// What is done to an instance, and the status that it leads to.
struct Way {
    method: &'static str,
    below: &'static str,
    body: Value,
    status: &'static str,
}

impl Way {
    fn post(below: &'static str, status: &'static str) -> Self {
        let (method, body) = ("POST", Value::Null);
        Self {
            method,
            below,
            body,
            status,
        }
    }
}

/// Kills the manager at the first step of the way, then at the second, and so
/// on until it gets through; after each, `check` looks at what the next
/// manager made of it.
async fn at_every_step(
    bench: &mut Bench,
    prepare: impl AsyncFn(&Bench) -> It,
    way: Way,
    check: impl AsyncFn(&Bench, &It),
) {
    for nth in 1..STEPS_MAX {
        for moment in [Moment::BeforeEffect, Moment::AfterEffect] {
            let it = prepare(bench).await;
            settle(bench, &it).await;
            hang_at(bench, nth, moment);
            let asked = bench
                .call(way.method, &it.path(way.below), way.body.clone())
                .await;
            assert!(matches!(asked.status, 200 | 202), "{}", asked.json);
            let hung = hung(bench, &it, way.status).await;
            kill(bench).await;
            check(bench, &it).await;
            if !hung {
                assert!(nth > 2, "only {nth} steps were seen");
                return;
            }
        }
    }
    panic!("more than {STEPS_MAX} steps");
}

/// Looks that were still under way are over when another instance, asked for
/// later, has come and gone.
async fn settle(bench: &Bench, it: &It) {
    let other = bench.running(&format!("{}-settle", it.subdomain)).await;
    delete(bench, &other).await;
}

async fn containers(bench: &Bench) -> usize {
    use openflow_manager::runtime::Runtime as _;
    bench.runtime.list().await.unwrap().len()
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn at_every_step_of_a_creation_it_ends_running_with_one_container(pool: PgPool) {
    let mut bench = Bench::new(pool).await;
    let flows = json!([{"id": "1", "type": "tab"}]);
    let template = with_flows(&bench, &flows).await;
    let mut kills = 0;
    'steps: for nth in 1..STEPS_MAX {
        for moment in [Moment::BeforeEffect, Moment::AfterEffect] {
            hang_at(&bench, nth, moment);
            let it = bench
                .create_with("wf1", json!({"template": template}))
                .await;
            let through = !hung(&bench, &it, "running").await;
            kills += usize::from(!through);
            kill(&mut bench).await;
            bench.until(&it, "running").await;
            let file = std::fs::read(bench.folder(&it).join("flows.json")).unwrap();
            let nodes = serde_json::from_slice::<Value>(&file).unwrap();
            assert_eq!(nodes[0], flows[0]);
            assert_eq!(nodes[1]["id"], "openflow-broker");
            assert_eq!(
                containers(&bench).await,
                1,
                "killed {moment:?} of step {nth}"
            );
            delete(&bench, &it).await;
            if through {
                break 'steps;
            }
        }
    }
    assert!(kills > 5, "only {kills} steps were seen");
    assert_eq!(containers(&bench).await, 0);
}

async fn with_flows(bench: &Bench, flows: &Value) -> Value {
    let root = bench.t.admin("Root").await;
    let stack = bench.get("/api/v1/stacks").await.expect(200)["items"][0]["id"].clone();
    let body = json!({"name": "Line", "stackId": stack, "flows": flows});
    bench
        .t
        .post("/api/v1/templates", &root.who, body)
        .await
        .expect(201)["id"]
        .clone()
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn at_every_step_of_a_deletion_it_ends_gone(pool: PgPool) {
    let mut bench = Bench::new(pool).await;
    let way = Way {
        method: "DELETE",
        ..Way::post("", "gone")
    };
    let prepare = async |bench: &Bench| bench.running("wf1").await;
    at_every_step(&mut bench, prepare, way, async |bench: &Bench, it: &It| {
        bench.until_gone(it).await;
        assert_eq!(containers(bench).await, 0);
    })
    .await;
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn at_every_step_of_a_stop_it_ends_stopped(pool: PgPool) {
    let mut bench = Bench::new(pool).await;
    let way = Way::post("stop", "stopped");
    let prepare = async |bench: &Bench| bench.running("wf1").await;
    at_every_step(&mut bench, prepare, way, async |bench: &Bench, it: &It| {
        bench.until(it, "stopped").await;
        delete(bench, it).await;
    })
    .await;
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn at_every_step_of_a_restart_it_ends_running(pool: PgPool) {
    let mut bench = Bench::new(pool).await;
    let way = Way::post("restart", "running");
    let prepare = async |bench: &Bench| bench.running("wf1").await;
    at_every_step(&mut bench, prepare, way, async |bench: &Bench, it: &It| {
        bench.until(it, "running").await;
        assert_eq!(containers(bench).await, 1);
        delete(bench, it).await;
    })
    .await;
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn at_every_step_of_an_upgrade_it_ends_on_the_new_stack(pool: PgPool) {
    let mut bench = Bench::new(pool).await;
    let image = "openflow/node-red:6";
    let stack = bench.stack(image).await;
    let check = async |bench: &Bench, it: &It| {
        bench
            .until_it(it, "it runs the new image", |view| {
                let spec = bench.runtime.spec(it.key());
                view["status"] == "running" && spec.is_some_and(|it| it.image == image)
            })
            .await;
        assert_eq!(containers(bench).await, 1);
        delete(bench, it).await;
    };
    for nth in 1..=12 {
        for moment in [Moment::BeforeEffect, Moment::AfterEffect] {
            let it = bench.running("wf1").await;
            settle(&bench, &it).await;
            hang_at(&bench, nth, moment);
            bench.patch(&it, json!({"stackId": stack})).await;
            // It shows as running before the reconciler begins, so it is the
            // container that tells the end of the way.
            let upgraded = async {
                bench
                    .until_it(&it, "it is upgraded", |_| {
                        let spec = bench.runtime.spec(it.key());
                        let up = bench
                            .runtime
                            .count(openflow_manager::runtime::Op::Start, it.key());
                        up > 1 && spec.is_some_and(|it| it.image == image)
                    })
                    .await;
                bench.until(&it, "running").await;
            };
            tokio::select! {
                () = bench.runtime.hung() => {}
                () = upgraded => {}
            }
            kill(&mut bench).await;
            check(&bench, &it).await;
        }
    }
}
