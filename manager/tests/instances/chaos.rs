//! Everything at once: whatever happened, it ends as was asked last, with
//! nothing left over.
use chrono::TimeDelta;
use openflow_manager::runtime::{ContainerState, Error, Moment, Op, Runtime as _};
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::support::instances::{Bench, It, eventually};

const ROUNDS: usize = 120;
const INSTANCES: usize = 5;

/// The same sequence in each run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 33) as usize % sides
    }
}

async fn disturb(bench: &mut Bench, it: &It, dice: &mut Dice) {
    let id = it.key();
    let runtime = bench.runtime.clone();
    let kind = dice.roll(10);
    if kind < 3 {
        // What is armed is for the manager, not for the test's own calls.
        runtime.heal();
    }
    match kind {
        // A person at the host; that it fails is fine.
        0 => _ = runtime.stop(id).await,
        1 => _ = runtime.remove(id).await,
        2 => _ = runtime.pause(id).await,
        // The engine.
        3 => runtime.drop_event_streams(),
        4 => runtime.set_away(true),
        5 => runtime.set_away(false),
        6 => {
            let op = [Op::Create, Op::Start, Op::Stop, Op::Remove, Op::Observe][dice.roll(5)];
            runtime.fail_next(op, Error::Refused("kaboom".into()));
        }
        // The manager.
        7 => {
            let moment = [Moment::BeforeEffect, Moment::AfterEffect][dice.roll(2)];
            runtime.hang_on(|call| call.instance.is_some(), dice.roll(8) + 1, moment);
        }
        8 => {
            runtime.heal();
            bench.kill_and_start_anew().await;
        }
        _ => bench.t.clock.advance(TimeDelta::seconds(20)),
    }
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn whatever_happens_it_ends_as_was_asked_last(pool: PgPool) {
    let mut bench = Bench::new(pool).await;
    let mut dice = Dice(42);
    let mut wanted: Vec<(It, &str)> = Vec::new();
    for n in 0..INSTANCES {
        wanted.push((bench.create(&format!("wf{n}")).await, "running"));
    }
    for round in 0..ROUNDS {
        let n = dice.roll(INSTANCES);
        let it = wanted[n].0.clone();
        match dice.roll(8) {
            0 => {
                bench.post(&it.path("stop"), Value::Null).await.expect(202);
                wanted[n].1 = "stopped";
            }
            1 | 2 => {
                let how = ["start", "restart"][dice.roll(2)];
                bench.post(&it.path(how), Value::Null).await.expect(202);
                wanted[n].1 = "running";
            }
            3 => {
                bench
                    .call("DELETE", &it.path(""), Value::Null)
                    .await
                    .expect(202);
                let again = bench.create(&format!("round{round}")).await;
                wanted[n] = (again, "running");
            }
            4 => {
                let memory = 128 + dice.roll(100);
                bench
                    .patch(&it, json!({"resources": {"memoryMb": memory}}))
                    .await;
            }
            _ => disturb(&mut bench, &it, &mut dice).await,
        }
    }
    bench.runtime.heal();
    bench.runtime.set_away(false);
    bench.kill_and_start_anew().await;
    eventually("all is as was asked for last", async || {
        // Pauses after failures and crashes are over soon.
        bench.t.clock.advance(TimeDelta::seconds(5));
        for (it, status) in &wanted {
            let seen = bench.see(it).await["status"].clone();
            // Enough crashes, and safe mode is the way to run.
            if seen != *status && !(seen == "safe_mode" && *status == "running") {
                return None;
            }
        }
        let rows = bench.t.count("select count(*) from instances").await;
        (rows == INSTANCES as i64).then_some(())
    })
    .await;
    for (it, status) in &wanted {
        let container = bench.runtime.container(it.key());
        let up = container.is_some_and(|it| it.state == ContainerState::Running);
        assert_eq!(up, *status == "running", "{it:?}");
    }
    let containers = bench.runtime.list().await.unwrap();
    assert!(
        containers
            .iter()
            .all(|it| wanted.iter().any(|wanted| wanted.0.key() == it.instance))
    );
    let folders = std::fs::read_dir(bench.t.data.path().join("instances")).unwrap();
    for folder in folders {
        let name = folder.unwrap().file_name().into_string().unwrap();
        assert!(
            wanted.iter().any(|it| it.0.id.to_string() == name),
            "{name}"
        );
    }
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn requests_for_one_instance_come_one_after_the_other(pool: PgPool) {
    let bench = Bench::new(pool).await;
    let it = bench.running("wf1").await;
    let asks = (0..30).map(|n| {
        let path = it.path(["start", "stop", "restart"][n % 3]);
        let bench = &bench;
        async move { bench.post(&path, Value::Null).await.expect(202) }
    });
    futures_util::future::join_all(asks).await;
    bench.ask(&it, "stop", "stopped").await;
    bench.ask(&it, "start", "running").await;
    let restarts: i64 = sqlx::query_scalar("select restart_wanted - restart_done from instances")
        .fetch_one(&bench.t.pool)
        .await
        .unwrap();
    assert_eq!(restarts, 0);
    assert_eq!(bench.runtime.list().await.unwrap().len(), 1);
}
