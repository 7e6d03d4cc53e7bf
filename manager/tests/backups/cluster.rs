//! Several managers, one backup.
use serde_json::Value;
use sqlx::PgPool;

use super::bench::{WithBackups as _, quiet};

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn two_managers_make_one_backup_of_each(pool: PgPool) {
    let bench = quiet(pool).await;
    let second = bench.t.another().await;
    second.run().await;
    let mut all = Vec::new();
    for n in 0..4 {
        all.push(bench.running(&format!("wf{n}")).await);
    }
    let mut ids = Vec::new();
    for (n, it) in all.iter().enumerate() {
        // It does not matter whom one asks.
        let app = if n % 2 == 0 { &bench.t } else { &second };
        let asked = app
            .post(&it.path("backups"), &bench.ada.who, Value::Null)
            .await;
        ids.push(super::bench::id_of(&asked.expect(202)));
    }
    for id in ids {
        assert_eq!(bench.ended(id).await["status"], "good");
    }
    for it in &all {
        assert_eq!(bench.files_of(it).len(), 1);
    }
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn when_the_leader_stops_the_other_one_goes_on(pool: PgPool) {
    let mut bench = quiet(pool).await;
    let it = bench.running("shop").await;
    bench.write(&it, "big", vec![1; 20 << 20]);
    let second = bench.t.another().await;
    second.run().await;
    let id = bench.ask_backup(&it).await;
    bench.t.kill().await;
    bench.t = second;
    assert_eq!(bench.ended(id).await["status"], "good");
    assert_eq!(bench.files_of(&it).len(), 1);
}
