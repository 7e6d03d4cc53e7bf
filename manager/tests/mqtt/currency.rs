//! How soon a change is in force, and whose connections it ends.
use openflow_manager::mqtt::BrokerError;
use serde_json::{Value, json};
use sqlx::PgPool;
use uuid::Uuid;

use crate::{
    asking::{Client, allow, connect, connection, credentials, deny, new_client, until},
    support::instances::{Bench, eventually},
};

/// Until these and no others were kicked, each so often and, as always, twice.
async fn until_kicked(bench: &Bench, times: usize, who: &[Uuid]) {
    let mut expected = Vec::new();
    for id in who {
        expected.extend(vec![id.to_string(); 2 * times]);
    }
    expected.sort();
    eventually(&format!("{expected:?} are kicked"), async || {
        let mut kicked = bench.t.broker.kicked();
        kicked.sort();
        (kicked == expected).then_some(())
    })
    .await;
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn who_should_not_run_is_not_let_in(pool: PgPool) {
    let bench = Bench::new(pool).await;
    let it = bench.running("wf1").await;
    let body = credentials(&bench, &it);
    until(&bench, &body, allow(&bench)).await;
    bench.ask(&it, "stop", "stopped").await;
    until(&bench, &body, deny()).await;
    // The password survives restarts.
    bench.ask(&it, "start", "running").await;
    assert_eq!(credentials(&bench, &it), body);
    until(&bench, &body, allow(&bench)).await;
    bench
        .call("DELETE", &it.path(""), Value::Null)
        .await
        .expect(202);
    until(&bench, &body, deny()).await;
    bench.until_gone(&it).await;
    // Once for the stop, once for the delete.
    until_kicked(&bench, 2, &[it.id]).await;
    assert_eq!(connect(&bench, &body).await, deny());
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn each_change_of_a_client_is_in_force_and_ends_its_connections(pool: PgPool) {
    let bench = Bench::new(pool).await;
    let client = new_client(&bench, json!({"name": "Boiler"})).await;
    let bystander = new_client(&bench, json!({"name": "Bystander"})).await;
    until(&bench, &client.body, allow(&bench)).await;
    let path = client.path("");
    let patch = async |body: Value| bench.call("PATCH", &path, body).await.expect(200);
    let until_kicked = async |times| until_kicked(&bench, times, &[client.id]).await;

    patch(json!({"name": "Boiler 2"})).await;
    let rotated = bench.post(&client.path("rotate"), Value::Null).await;
    let mut body = client.body.clone();
    body["password"] = rotated.expect(200)["password"].clone();
    until(&bench, &client.body, deny()).await;
    assert_eq!(connect(&bench, &body).await, allow(&bench));
    until_kicked(1).await;

    patch(json!({"disabled": true})).await;
    until(&bench, &body, deny()).await;
    until_kicked(2).await;
    patch(json!({"disabled": false})).await;
    until(&bench, &body, allow(&bench)).await;

    patch(json!({"publish": ["up/#"]})).await;
    eventually("the rule is in force", async || {
        connect(&bench, &body).await.1["acl"]
            .is_array()
            .then_some(())
    })
    .await;
    until_kicked(3).await;
    patch(json!({"publish": null})).await;
    until(&bench, &body, allow(&bench)).await;
    until_kicked(4).await;

    bench.call("DELETE", &path, Value::Null).await.expect(204);
    until(&bench, &body, deny()).await;
    until_kicked(5).await;
    assert_eq!(connect(&bench, &bystander.body).await, allow(&bench));
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn a_broker_that_is_away_is_asked_again(pool: PgPool) {
    let bench = Bench::new(pool).await;
    let client = new_client(&bench, json!({"name": "Boiler"})).await;
    until(&bench, &client.body, allow(&bench)).await;
    let away = BrokerError::Unavailable("connection refused".into());
    bench.t.broker.set_trouble(Some(away));
    bench
        .call("DELETE", &client.path(""), Value::Null)
        .await
        .expect(204);
    until(&bench, &client.body, deny()).await;
    bench.t.broker.set_trouble(None);
    until_kicked(&bench, 1, &[client.id]).await;
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn a_deleted_project_is_forgotten_by_the_broker(pool: PgPool) {
    let mut bench = Bench::new(pool).await;
    let it = bench.running("wf1").await;
    let client = new_client(&bench, json!({"name": "Boiler"})).await;
    let instance = credentials(&bench, &it);
    until(&bench, &instance, allow(&bench)).await;
    until(&bench, &client.body, allow(&bench)).await;
    let deleted = bench.project;
    bench.project = bench.t.project(&bench.ada).await;
    let other = new_client(&bench, json!({"name": "Other"})).await;
    until(&bench, &other.body, allow(&bench)).await;

    let path = format!("/api/v1/projects/{deleted}");
    bench.call("DELETE", &path, Value::Null).await.expect(202);
    until(&bench, &client.body, deny()).await;
    until(&bench, &instance, deny()).await;
    until_kicked(&bench, 1, &[client.id, it.id]).await;
    // From here on the broker is away until the project is gone.
    let away = BrokerError::Unavailable("connection refused".into());
    bench.t.broker.set_trouble(Some(away));
    bench.until_gone(&it).await;
    eventually("the project is gone", async || {
        (bench.get(&path).await.status == 404).then_some(())
    })
    .await;
    assert_eq!(bench.t.count("select count(*) from mqtt_clients").await, 1);
    assert!(bench.t.broker.purged().is_empty());
    bench.t.broker.set_trouble(None);
    eventually("the broker forgets the project", async || {
        let left = bench.t.count("select count(*) from mqtt_purges").await;
        (left == 0).then_some(())
    })
    .await;
    assert_eq!(bench.t.broker.purged(), [deleted]);
    assert_eq!(connect(&bench, &other.body).await, allow(&bench));
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn two_managers_agree(pool: PgPool) {
    let bench = Bench::new(pool).await;
    let second = bench.t.another().await;
    second.run().await;
    let second = Bench {
        t: second,
        ada: bench.ada.clone(),
        project: bench.project,
        runtime: bench.runtime.clone(),
    };
    let client = new_client(&bench, json!({"name": "Boiler"})).await;
    for manager in [&bench, &second] {
        until(manager, &client.body, allow(&bench)).await;
    }
    second
        .call("PATCH", &client.path(""), json!({"disabled": true}))
        .await
        .expect(200);
    for manager in [&bench, &second] {
        until(manager, &client.body, deny()).await;
    }
    // Each when it lets nobody in itself any more.
    until_kicked(&bench, 2, &[client.id]).await;
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn a_manager_that_starts_throws_out_only_strangers(pool: PgPool) {
    let mut bench = Bench::new(pool).await;
    let client = new_client(&bench, json!({"name": "Boiler"})).await;
    let disabled = new_client(&bench, json!({"name": "Off"})).await;
    until(&bench, &client.body, allow(&bench)).await;
    until(&bench, &disabled.body, allow(&bench)).await;
    bench.t.kill().await;
    sqlx::query("update mqtt_clients set disabled = true where id = $1")
        .bind(disabled.id)
        .execute(&bench.t.pool)
        .await
        .unwrap();
    let stranger = Client::unknown();
    let all = [&client, &disabled, &stranger].map(|it| connection(&it.id.to_string()));
    bench.t.broker.set_connections(bench.project, all.into());
    bench.kill_and_start_anew().await;
    until_kicked(&bench, 1, &[stranger.id, disabled.id]).await;
    until(&bench, &client.body, allow(&bench)).await;
}
