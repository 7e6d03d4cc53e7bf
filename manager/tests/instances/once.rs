//! What runs once in an instance's image.
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
