use serde_json::{Value, json};
use sqlx::PgPool;

use crate::{
    flows::{deploy, flows, list, password, take},
    shim::shim,
    support::{
        Who,
        instances::{Bench, It, eventually},
    },
};

/// Until the newest snapshot is of those flows.
async fn until_kept(bench: &Bench, it: &It, topic: &str) -> Value {
    eventually("the deploy is kept", async || {
        let newest = list(bench, it, "?kind=auto").await.first()?.clone();
        let whole = bench.get(&crate::flows::path_of(&newest, "")).await;
        (whole.expect(200)["flows"] == flows(topic)).then_some(newest)
    })
    .await
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn a_deploy_is_kept_when_it_changed_something(pool: PgPool) {
    let bench = Bench::new(pool).await;
    let it = bench.running("wf1").await;
    deploy(&bench, &it, &flows("a"), &password("x"));
    let body = json!({"person": {"userId": bench.ada.id}});
    shim(&bench, &it, "POST", "deployed", body.clone())
        .await
        .expect(202);
    let kept = until_kept(&bench, &it, "a").await;
    assert_eq!(
        (&kept["kind"], &kept["author"]),
        (&json!("auto"), &json!("Ada"))
    );
    // Encrypted anew, and the same.
    deploy(&bench, &it, &flows("a"), &password("x"));
    shim(&bench, &it, "POST", "deployed", body)
        .await
        .expect(202);
    deploy(&bench, &it, &flows("a"), &password("x"));
    shim(&bench, &it, "POST", "deployed", Value::Null)
        .await
        .expect(202);
    // Only a password: the flows are the same.
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    deploy(&bench, &it, &flows("b"), &password("x"));
    let nobody = json!({"person": {"userId": uuid::Uuid::now_v7()}});
    shim(&bench, &it, "POST", "deployed", nobody)
        .await
        .expect(202);
    let kept = until_kept(&bench, &it, "b").await;
    assert_eq!(kept["author"], "the editor");
    assert_eq!(list(&bench, &it, "?kind=auto").await.len(), 2);
    let audit = bench
        .get("/api/v1/audit?action=snapshot.create")
        .await
        .expect(200);
    assert_eq!(audit["items"][0]["actor"]["kind"], "system");
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn the_newest_ten_are_kept_and_what_people_took_stays(pool: PgPool) {
    let bench = Bench::new(pool).await;
    let it = bench.running("wf1").await;
    deploy(&bench, &it, &flows("mine"), &password("x"));
    take(&bench, &it, "mine").await;
    sqlx::query(
        "insert into snapshots select gen_random_uuid(), instance_id, project_id, 'auto', name, description, author, engine,
           engine_version, nodes, tabs, modules, flows, null, credentials_sealed, credential_digests, content_digest, credentials,
           size_bytes, created_at from snapshots, generate_series(1, 12)",
    )
    .execute(&bench.t.pool)
    .await
    .unwrap();
    // Random ids sort anywhere; ours has to be the newest.
    sqlx::query(
        "update snapshots set id = ('00000000' || substr(id::text, 9))::uuid where kind = 'auto'",
    )
    .execute(&bench.t.pool)
    .await
    .unwrap();
    deploy(&bench, &it, &flows("next"), &password("x"));
    shim(&bench, &it, "POST", "deployed", Value::Null)
        .await
        .expect(202);
    until_kept(&bench, &it, "next").await;
    assert_eq!(list(&bench, &it, "?kind=auto").await.len(), 10);
    assert_eq!(list(&bench, &it, "?kind=manual").await.len(), 1);
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn what_was_there_before_an_upgrade_is_kept(pool: PgPool) {
    let bench = Bench::new(pool).await;
    let stack = bench.stack("openflow/node-red:6").await;
    let it = bench.running("wf1").await;
    deploy(&bench, &it, &flows("a"), &password("x"));
    bench.patch(&it, json!({"name": "Packing"})).await;
    let own = bench.see(&it).await["stackId"].clone();
    bench.patch(&it, json!({"stackId": own})).await;
    assert!(
        list(&bench, &it, "").await.is_empty(),
        "no upgrade, no snapshot"
    );
    bench.patch(&it, json!({"stackId": stack})).await;
    let kept = list(&bench, &it, "").await;
    assert_eq!(kept.len(), 1);
    assert_eq!(kept[0]["name"], "Before upgrade to openflow/node-red:6");
    assert_eq!(kept[0]["kind"], "auto");
    // One that cannot be kept is upgraded all the same.
    std::fs::write(bench.folder(&it).join("flows.json"), "broken").unwrap();
    bench.patch(&it, json!({"stackId": own})).await;
    assert_eq!(list(&bench, &it, "").await.len(), 1);
    // A viewer is told off before anything is taken.
    let viewer = bench.t.person("Vi").await;
    bench.t.add_member(bench.project, &viewer, "viewer").await;
    let path = it.path("");
    let answer = bench
        .t
        .call("PATCH", &path, &viewer.who, json!({"stackId": stack}))
        .await;
    assert_eq!(answer.refusal(), (403, "project.role_required"));
    assert_eq!(bench.t.get(&path, &Who::Nobody).await.status, 401);
}
