//! Several managers on one database and one engine.
use openflow_manager::runtime::Op;
use serde_json::Value;
use sqlx::{PgPool, postgres::PgPoolOptions};

use crate::support::instances::{Bench, eventually};

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn one_manager_acts_and_another_takes_over_when_it_is_killed(pool: PgPool) {
    let mut bench = Bench::new(pool.clone()).await;
    let own_pool = PgPoolOptions::new()
        .max_connections(5)
        .connect_lazy_with((*pool.connect_options()).clone());
    let second = bench.t.another_on(own_pool.clone()).await;
    second.run().await;

    let mut all = Vec::new();
    for n in 0..8 {
        all.push(bench.create(&format!("wf{n}")).await);
    }
    for it in &all {
        bench.until(it, "running").await;
        assert_eq!(bench.runtime.count(Op::Create, it.key()), 1);
        assert_eq!(bench.runtime.count(Op::Start, it.key()), 1);
    }
    // Either manager takes requests and knows of the other's changes.
    let path = all[0].path("");
    let seen = second.get(&path, &bench.ada.who).await.expect(200);
    assert_eq!(seen["status"], "running");
    let stop = all[0].path("stop");
    second
        .post(&stop, &bench.ada.who, Value::Null)
        .await
        .expect(202);
    bench.until(&all[0], "stopped").await;
    assert_eq!(bench.runtime.count(Op::Stop, all[0].key()), 1);

    bench.t.kill().await;
    bench.t = second;
    bench.runtime.clear_calls();
    let new = bench.running("later").await;
    assert_eq!(bench.runtime.count(Op::Create, new.key()), 1);
    for it in &all[1..] {
        assert_eq!(bench.see(it).await["status"], "running");
        for op in [Op::Create, Op::Start, Op::Stop, Op::Remove] {
            assert_eq!(bench.runtime.count(op, it.key()), 0, "{op:?}");
        }
    }
    bench.t.kill().await;
    own_pool.close().await;
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn the_database_ends_the_leaders_connections_and_somebody_leads_again(pool: PgPool) {
    let bench = Bench::new(pool).await;
    let it = bench.running("wf1").await;
    sqlx::query(
        "select pg_terminate_backend(pid) from pg_stat_activity
         where datname = current_database() and pid <> pg_backend_pid()",
    )
    .execute(&bench.t.pool)
    .await
    .unwrap();
    eventually("requests are served again", async || {
        (bench.get(&it.path("")).await.status == 200).then_some(())
    })
    .await;
    let new = eventually("instances are created again", async || {
        let answer = bench.try_create("wf2", serde_json::json!({})).await;
        (answer.status == 201).then(|| crate::support::instances::It::of(&answer.json))
    })
    .await;
    bench.until(&new, "running").await;
    bench.ask(&it, "stop", "stopped").await;
}
