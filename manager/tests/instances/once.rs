//! What runs once in an instance's image, and the files that only a container
//! gets to see.
use std::{fs, path::PathBuf};

use openflow_manager::runtime::{Moment, Op};
use serde_json::json;
use sqlx::PgPool;

use crate::support::instances::{Bench, It, eventually};

async fn n8n(bench: &Bench) -> It {
    let stack = bench.made_stack("n8n", "openflow/n8n:1", "ready").await;
    let env = json!([
        {"name": "NODE_OPTIONS", "value": "--require=/data/mine.js"},
        {"name": "COLOR", "value": "red"},
    ]);
    let it = bench
        .create_with("n8n", json!({"stack": stack, "env": env}))
        .await;
    bench.until(&it, "running").await;
    it
}

fn secrets(bench: &Bench, it: &It) -> PathBuf {
    bench.t.data.path().join("secrets").join(it.id.to_string())
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn what_is_read_of_a_stopped_one_is_read_without_the_variables_of_its_people(pool: PgPool) {
    let bench = Bench::new(pool).await;
    let it = n8n(&bench).await;
    assert_eq!(bench.env_of(&it, "COLOR").as_deref(), Some("red"));
    bench.ask(&it, "stop", "stopped").await;
    bench.n8n_is_read();
    bench
        .post(&it.path("snapshots"), json!({"name": "First"}))
        .await
        .expect(201);
    let runs = bench.runtime.rehearsals();
    let env = &runs[0].env;
    assert!(env.contains_key("OPENFLOW_MEMORY_MB"));
    assert!(!env.contains_key("COLOR"));
    let options = env.get("NODE_OPTIONS").map(|it| it.expose().to_owned());
    assert!(!options.unwrap_or_default().contains("mine"));
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn what_one_manager_runs_a_new_leader_leaves_alone(pool: PgPool) {
    let bench = Bench::new(pool).await;
    let it = n8n(&bench).await;
    bench.ask(&it, "stop", "stopped").await;
    bench
        .runtime
        .hang_on(|call| call.op == Op::RunOnce, 1, Moment::AfterEffect);
    let other = bench.t.another().await;
    let path = it.path("snapshots");
    let reading = bench.post(&path, json!({"name": "First"}));
    let leading = async {
        bench.runtime.hung().await;
        bench.runtime.clear_calls();
        bench.t.kill().await;
        other.run().await;
        eventually("the new leader sweeps", async || {
            let calls = bench.runtime.calls();
            let swept = calls.iter().any(|it| it.op == Op::SweepRehearsals);
            swept.then_some(())
        })
        .await;
    };
    tokio::select! {
        answer = reading => panic!("it hangs: {:?}", answer.status),
        () = leading => {}
    }
    assert_eq!(bench.runtime.runs_under_way().len(), 1);
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn secret_files_that_were_lost_are_there_again_at_the_next_start(pool: PgPool) {
    let bench = Bench::new(pool).await;
    let it = n8n(&bench).await;
    let key = secrets(&bench, &it).join("encryption_key");
    let before = fs::read(&key).unwrap();
    // As after a restart of the host, whose data came from elsewhere.
    let made = bench.runtime.count(Op::Create, it.key());
    fs::remove_dir_all(bench.t.data.path().join("secrets")).unwrap();
    bench.runtime.kill(it.key());
    eventually("it is started again", async || {
        let started = bench.runtime.count(Op::Start, it.key());
        (1 < started).then_some(())
    })
    .await;
    assert_eq!(fs::read(&key).unwrap(), before);
    assert_eq!(bench.runtime.count(Op::Create, it.key()), made);
    bench.until(&it, "running").await;
}
