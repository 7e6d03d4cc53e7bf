//! The database goes away in the middle of everything.
use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::future::join_all;
use openflow_manager::identity::SignInRates;
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::support::{
    TestApp, Who,
    instances::{Bench, It, eventually},
    relay::Relay,
};

async fn bench_behind(relay: &Relay, pool: &PgPool) -> Bench {
    let generous = u32::MAX.try_into().unwrap();
    let rates = SignInRates {
        per_account: generous,
        per_address: generous,
    };
    let mut t = TestApp::with(relay.pool(pool), rates, Arc::default(), &[]).await;
    // The test itself looks past the relay.
    t.pool = pool.clone();
    Bench::of(t).await
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn while_the_database_is_away_requests_are_refused_and_then_it_heals(pool: PgPool) {
    let relay = Relay::to(&pool).await;
    let bench = bench_behind(&relay, &pool).await;
    let it = bench.running("wf1").await;
    let table = bench
        .until_feed("it is routed", |feed| {
            feed["routes"][0]["state"] == "running"
        })
        .await;
    relay.cut().await;

    let refused = bench.try_create("wf2", json!({})).await;
    assert_eq!(refused.refusal(), (503, "database"));
    assert!(refused.headers.contains_key("retry-after"));
    assert!(refused.json["requestId"].is_string());
    for (method, path) in [
        ("GET", it.path("")),
        ("POST", it.path("stop")),
        ("DELETE", it.path("")),
    ] {
        let answer = bench.call(method, &path, Value::Null).await;
        assert_eq!(answer.refusal(), (503, "database"), "{method} {path}");
    }
    let ready = bench
        .t
        .get("/api/v1/health/ready", &Who::Nobody)
        .await
        .expect(503);
    assert_eq!(ready["status"], "unavailable");
    assert_eq!(ready["dependencies"]["database"]["status"], "down");
    assert_eq!(ready["dependencies"]["docker"]["status"], "up");
    bench
        .t
        .get("/api/v1/health/live", &Who::Nobody)
        .await
        .expect(200);
    // The proxy gets the last table, and what runs goes on.
    assert_eq!(bench.feed().await, table);
    bench.runtime.kill(it.key());

    relay.mend().await;
    let new = eventually("instances are created again", async || {
        let answer = bench.try_create("wf2", json!({})).await;
        (answer.status == 201).then(|| It::of(&answer.json))
    })
    .await;
    bench.until(&new, "running").await;
    bench.until(&it, "running").await;
    assert_eq!(bench.t.count("select count(*) from instances").await, 2);
    bench
        .until_feed("the feed is current again", |feed| {
            let routes = feed["routes"].as_array().unwrap();
            routes.len() == 2 && routes.iter().all(|it| it["state"] == "running")
        })
        .await;
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn cut_in_the_middle_of_requests_nothing_is_half_written(pool: PgPool) {
    let relay = Relay::to(&pool).await;
    let bench = bench_behind(&relay, &pool).await;
    let over = AtomicBool::new(false);
    let writer = async |writer: usize| {
        let mut created = Vec::new();
        for n in 0..10_000 {
            if over.load(Ordering::Relaxed) {
                break;
            }
            let answer = bench.try_create(&format!("w{writer}-{n}"), json!({})).await;
            match answer.status {
                201 => created.push(answer.json["id"].as_str().unwrap().to_owned()),
                503 => assert_eq!(answer.refusal().1, "database"),
                403 => assert_eq!(answer.refusal().1, "instance.too_many"),
                _ => panic!("{} {}", answer.status, answer.json),
            }
        }
        created
    };
    let cutter = async {
        for n in 0..8 {
            tokio::time::sleep(Duration::from_millis(30 + 17 * n)).await;
            relay.cut().await;
            relay.mend().await;
        }
        over.store(true, Ordering::Relaxed);
    };
    let (created, ()) = tokio::join!(join_all((0..6).map(writer)), cutter);
    let created: BTreeSet<String> = created.into_iter().flatten().collect();
    assert!(!created.is_empty());

    // Whoever was told 201 has it; each has its name and its line in the log,
    // also where the answer to the commit was lost.
    let rows: Vec<String> = sqlx::query_scalar("select id::text from instances")
        .fetch_all(&pool)
        .await
        .unwrap();
    let rows: BTreeSet<String> = rows.into_iter().collect();
    assert!(created.is_subset(&rows));
    for query in [
        "select instance_id::text from hostnames where kind = 'subdomain'",
        "select target_id from audit_log where action = 'instance.create'",
    ] {
        let ids: Vec<String> = sqlx::query_scalar(query).fetch_all(&pool).await.unwrap();
        assert_eq!(ids.len(), rows.len(), "{query}");
        assert_eq!(ids.into_iter().collect::<BTreeSet<_>>(), rows, "{query}");
    }
    eventually("they all run", async || {
        let waiting = "select count(*) from instances where status <> 'running'";
        (bench.t.count(waiting).await == 0).then_some(())
    })
    .await;
}
