//! The manager is killed in the middle of a restore, at every step of it.
use std::time::Duration;

use openflow_manager::runtime::Moment;
use serde_json::Value;
use sqlx::PgPool;
use tokio::time::timeout;

use crate::{
    flows::{deploy, flows, found, over, password, restore, take},
    support::instances::{Bench, eventually},
};

const PATIENCE: Duration = Duration::from_secs(30);
/// No restore has so many.
const STEPS_MAX: usize = 40;

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn at_every_step_of_a_restore_it_ends_as_restored(pool: PgPool) {
    let mut bench = Bench::new(pool).await;
    let it = bench.running("wf1").await;
    deploy(&bench, &it, &flows("a"), &password("one"));
    let a = take(&bench, &it, "a").await;
    for nth in 1..STEPS_MAX {
        let mut hangs = false;
        for moment in [Moment::BeforeEffect, Moment::AfterEffect] {
            deploy(&bench, &it, &flows("b"), &password("two"));
            bench.until(&it, "running").await;
            let key = it.key();
            bench
                .runtime
                .hang_on(move |call| call.instance == Some(key), nth, moment);
            let begun = restore(&bench, &a, Value::Null).await.expect(202);
            let hung = async {
                tokio::select! {
                    () = bench.runtime.hung() => true,
                    _ = over(&bench, &begun) => false,
                }
            };
            hangs = timeout(PATIENCE, hung).await.unwrap();
            bench.runtime.heal();
            bench.kill_and_start_anew().await;
            assert_eq!(
                over(&bench, &begun).await["state"],
                "done",
                "killed {moment:?} of step {nth}"
            );
            assert_eq!(
                found(&bench, &it),
                (flows("a"), password("one")),
                "killed {moment:?} of step {nth}"
            );
            bench.until(&it, "running").await;
        }
        if !hangs {
            assert!(nth > 2, "only {nth} steps were seen");
            return;
        }
    }
    panic!("more than {STEPS_MAX} steps");
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn one_whose_maker_died_changes_nothing_and_another_is_let_in(pool: PgPool) {
    let bench = Bench::new(pool).await;
    let it = bench.running("wf1").await;
    deploy(&bench, &it, &flows("a"), &password("one"));
    let a = take(&bench, &it, "a").await;
    deploy(&bench, &it, &flows("b"), &password("two"));
    // As a manager leaves it that is killed while it stages.
    sqlx::query(
        "insert into restores (id, instance_id, project_id, source_kind, source_id, source_name, state, requested_by, created_at,
           touched_at) values (gen_random_uuid(), $1, $2, 'snapshot', $1, 'a', 'preparing', 'Ada', now(), now())",
    )
    .bind(it.id)
    .bind(bench.project)
    .execute(&bench.t.pool)
    .await
    .unwrap();
    assert_eq!(
        restore(&bench, &a, Value::Null).await.refusal(),
        (409, "restore.under_way")
    );
    bench.t.clock.advance(chrono::TimeDelta::minutes(3));
    let begun = eventually("the dead one is given up", async || {
        let answer = restore(&bench, &a, Value::Null).await;
        (answer.status == 202).then_some(answer.json)
    });
    let begun = begun.await;
    assert_eq!(over(&bench, &begun).await["state"], "done");
}
