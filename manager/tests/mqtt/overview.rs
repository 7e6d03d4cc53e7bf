//! The broker as a project's people see it.
use openflow_manager::mqtt::{BrokerError, Protocol};
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::{
    asking::{allow, connection, credentials, new_client, until},
    support::{Who, instances::Bench},
};

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn the_broker_and_its_connections(pool: PgPool) {
    let flags = ["--mqtt-url=mqtts://broker.example.com:8883"];
    let bench = Bench::with_flags(pool, &flags).await;
    let path = format!("/api/v1/projects/{}/mqtt", bench.project);
    let expected = |connected: usize| {
        json!({
            "broker": "emqx", "state": "up", "detail": null, "limits": null, "connected": connected,
            "urls": {"mqtt": null, "mqtts": "mqtts://broker.example.com:8883", "websocket": null},
        })
    };
    assert_eq!(bench.get(&path).await.expect(200), expected(0));

    let it = bench.running("wf1").await;
    let client = new_client(&bench, json!({"name": "Boiler"})).await;
    until(&bench, &client.body, allow(&bench)).await;
    until(&bench, &credentials(&bench, &it), allow(&bench)).await;
    let mut gone = connection("gone");
    gone.protocol = Protocol::V5;
    gone.address = None;
    let usernames = [it.id.to_string(), client.id.to_string()];
    let mut connections: Vec<_> = usernames.iter().map(|it| connection(it)).collect();
    connections.push(gone);
    bench.t.broker.set_connections(bench.project, connections);
    assert_eq!(bench.get(&path).await.expect(200), expected(3));
    let list = bench.get(&format!("{path}/connections")).await.expect(200);
    let at = "2026-01-02T03:04:05Z";
    let line = |username: &Value, kind, name, owner: (&Value, &Value)| {
        json!({"clientId": "device-1", "username": username, "kind": kind, "name": name, "instanceId": owner.0,
               "mqttClientId": owner.1, "address": "192.0.2.7", "protocol": "3.1.1", "connectedAt": at})
    };
    let (instance, device, none) = (json!(it.id), json!(client.id), Value::Null);
    let mut gone = line(&json!("gone"), "client", "gone", (&none, &none));
    gone["address"] = Value::Null;
    gone["protocol"] = json!("5");
    let expected = json!({"nextCursor": null, "items": [
        line(&instance, "instance", "wf1", (&instance, &none)),
        line(&device, "client", "Boiler", (&none, &device)),
        gone,
    ]});
    assert_eq!(list, expected);
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn a_broker_in_trouble_says_so(pool: PgPool) {
    let bench = Bench::new(pool).await;
    let path = format!("/api/v1/projects/{}/mqtt", bench.project);
    let health = async || {
        let ready = bench.t.get("/api/v1/health/ready", &Who::Nobody).await;
        ready.expect(200)["dependencies"]["mqtt"]["status"].clone()
    };
    assert_eq!(health().await, "up");
    for (trouble, status, code) in [
        (
            BrokerError::Unavailable("connection refused".into()),
            503,
            "mqtt.unavailable",
        ),
        (
            BrokerError::Unsupported("set OPENFLOW_EMQX_API_KEY".into()),
            409,
            "mqtt.unsupported",
        ),
    ] {
        let why = trouble.to_string();
        bench.t.broker.set_trouble(Some(trouble));
        let view = bench.get(&path).await.expect(200);
        assert_eq!(
            (&view["state"], &view["connected"]),
            (&json!("down"), &Value::Null)
        );
        assert_eq!(view["detail"], json!(why));
        let refused = bench.get(&format!("{path}/connections")).await;
        assert_eq!(refused.refusal(), (status, code));
        assert_eq!(refused.json["detail"], json!(why));
        // Another try helps only when it is away.
        assert_eq!(refused.headers.contains_key("retry-after"), status == 503);
        assert_eq!(health().await, "down");
    }
}
