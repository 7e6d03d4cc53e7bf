use std::{net::IpAddr, sync::Arc};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use openflow_manager::{
    kernel::{Secret, SystemClock},
    mqtt::{
        Broker, BrokerError, BrokerKind, CONNECTIONS_MAX, Connection, Emqx, EmqxSettings, Message,
        Protocol,
    },
};
use serde_json::{Value, json};
use url::Url;
use uuid::Uuid;

use crate::fake::{FakeEmqx, KEY};

const A: Uuid = Uuid::from_u128(0xa);
const B: Uuid = Uuid::from_u128(0xb);

pub(crate) fn emqx(mqtt_url: &str, api: Option<&Url>) -> Emqx {
    let settings = EmqxSettings {
        mqtt_url: mqtt_url.parse().unwrap(),
        api: api.map(|url| (url.clone(), Secret::new(KEY))),
        hook_secret: Secret::new("hook-secret-hook-secret"),
    };
    Emqx::new(settings, Arc::new(SystemClock)).unwrap()
}

/// A driver of the fake, whose MQTT nobody asks.
async fn driver(fake: &FakeEmqx) -> Emqx {
    emqx("mqtt://127.0.0.1:1", Some(&fake.start().await))
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|it| (*it).to_owned()).collect()
}

#[tokio::test]
async fn a_projects_connections_are_found_among_all() {
    let fake = FakeEmqx::default();
    for n in 0..1300 {
        fake.connect(B, &format!("other-{n}"), "x");
    }
    fake.connect_with(
        A,
        "u2",
        "",
        json!({"proto_ver": 4, "ip_address": "2001:db8::7"}),
    );
    fake.connect(A, "u1", "dev:1");
    fake.connect_with(A, "u1", "away", json!({"connected": false}));
    fake.connect_with(
        A,
        "u3",
        "x",
        json!({"clientid": "as it likes", "proto_ver": 3}),
    );
    fake.connect(A, &format!("console.{A}"), "x");
    fake.connect_with(A, "u4", "x", json!({"mountpoint": null}));
    fake.connect_with(
        A,
        "u5",
        "x",
        json!({"mountpoint": "${client_attrs.tenant}"}),
    );
    fake.connect_with(A, "u6", "x", json!({"username": null}));
    let emqx = driver(&fake).await;
    assert_eq!(emqx.kind(), BrokerKind::Emqx);
    let connected_at = "2026-11-20T04:34:56.789Z".parse().unwrap();
    let connection = |username: &str, client_id: &str, protocol, address: &str| Connection {
        username: username.to_owned(),
        client_id: client_id.to_owned(),
        address: Some(address.parse::<IpAddr>().unwrap()),
        protocol,
        connected_at,
    };
    let expected = [
        connection("u1", "dev:1", Protocol::V5, "192.0.2.7"),
        connection("u2", "", Protocol::V3_1_1, "2001:db8::7"),
        connection("u3", "as it likes", Protocol::V3, "192.0.2.7"),
    ];
    assert_eq!(emqx.connections(A).await.unwrap(), expected);
    let asked = fake.inside().asked.clone();
    assert_eq!(asked.len(), 3, "{asked:?}");
    // Large projects show the first ones, and many who look ask once.
    let others = emqx.connections(B).await.unwrap();
    assert_eq!(others.len(), CONNECTIONS_MAX);
    assert_eq!(emqx.connections(Uuid::from_u128(0xc)).await.unwrap(), []);
    assert_eq!(fake.inside().asked.len(), 3);
}

#[tokio::test]
async fn a_kick_ends_all_of_a_user_and_nobody_elses() {
    let fake = FakeEmqx::default();
    for n in 0..700 {
        fake.connect(A, "u1", &format!("device-{n}"));
    }
    fake.connect_with(A, "u1", "away", json!({"connected": false}));
    fake.connect(A, "u2&username=u3", "x");
    fake.connect(A, "u3", "x");
    fake.connect(B, "u11", "x");
    let emqx = driver(&fake).await;
    assert_eq!(emqx.kick(&[]).await, Ok(0));
    assert_eq!(emqx.kick(&names(&["unknown"])).await, Ok(0));
    assert_eq!(emqx.kick(&names(&["u1", "u2&username=u3"])).await, Ok(701));
    assert_eq!(fake.ids(), ["u3:x", "u11:x"]);
    assert_eq!(emqx.kick(&names(&["u1"])).await, Ok(0));
    // More names than one request takes.
    let many: Vec<String> = (0..100).map(|n| format!("u{n}")).collect();
    assert_eq!(emqx.kick(&many).await, Ok(2));
    assert!(fake.ids().is_empty());
}

#[tokio::test]
async fn a_kicked_client_that_comes_back_is_kicked_again_but_not_for_ever() {
    let fake = FakeEmqx::default();
    fake.connect(A, "u1", "x");
    fake.inside().comebacks = 2;
    let emqx = driver(&fake).await;
    assert_eq!(emqx.kick(&names(&["u1"])).await, Ok(1));
    assert!(fake.ids().is_empty());
    fake.connect(A, "u1", "x");
    fake.inside().comebacks = usize::MAX;
    let error = emqx.kick(&names(&["u1"])).await.unwrap_err();
    assert!(matches!(error, BrokerError::Unavailable(_)), "{error}");
}

#[tokio::test]
async fn a_purge_leaves_nothing_of_a_project_and_all_of_others() {
    let fake = FakeEmqx::default();
    for n in 0..600 {
        fake.connect(A, &format!("u{n}"), "x");
        fake.connect(B, &format!("v{n}"), "x");
    }
    fake.connect(A, &format!("console.{A}"), "x");
    fake.connect_with(A, "away", "x", json!({"connected": false}));
    let retained = [
        format!("ff/{A}/a"),
        format!("ff/{A}/$b/c"),
        format!("ff/{B}/a"),
        "ff".to_owned(),
    ];
    fake.inside().retained = retained.to_vec();
    let emqx = driver(&fake).await;
    emqx.purge(A).await.unwrap();
    assert!(fake.ids().iter().all(|it| it.starts_with('v')));
    assert_eq!(fake.ids().len(), 600);
    assert_eq!(fake.inside().retained, retained[2..]);
    let asked = fake.inside().asked.clone();
    let delete = format!("DELETE /api/v5/mqtt/retainer/message/ff%2F{A}%2F%23");
    assert!(asked.contains(&delete), "{asked:?}");
    emqx.purge(A).await.unwrap();
}

#[tokio::test]
async fn a_message_is_published_below_the_mountpoint() {
    let fake = FakeEmqx::default();
    let emqx = driver(&fake).await;
    let message = Message {
        topic: "db/update/job".to_owned(),
        payload: vec![0xff, 0, b'x'].into(),
        qos: 2,
        retain: true,
    };
    emqx.publish(A, message.clone()).await.unwrap();
    let expected = json!({"topic": format!("ff/{A}/db/update/job"), "payload": BASE64_STANDARD.encode([0xff, 0, b'x']),
        "payload_encoding": "base64", "qos": 2, "retain": true});
    assert_eq!(fake.inside().published, [expected]);
    // Nobody has subscribed.
    emqx.publish(B, message.clone()).await.unwrap();
    let bad = Message {
        topic: "a/#".to_owned(),
        ..message
    };
    let error = emqx.publish(A, bad).await.unwrap_err();
    let BrokerError::Refused(why) = &error else {
        panic!("{error}")
    };
    assert!(why.contains("topic_name_invalid"), "{why}");
    assert_eq!(fake.inside().published.len(), 2);
}

#[tokio::test]
async fn without_a_key_it_says_what_to_set() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!(
        "mqtt://host.docker.internal:{}",
        listener.local_addr().unwrap().port()
    );
    let without = emqx(&url, None);
    without.ping().await.unwrap();
    let message = Message {
        topic: "a".to_owned(),
        payload: "b".into(),
        qos: 0,
        retain: false,
    };
    for error in [
        without.connections(A).await.unwrap_err(),
        without.kick(&names(&["u1"])).await.unwrap_err(),
        without.purge(A).await.unwrap_err(),
        without.publish(A, message).await.unwrap_err(),
    ] {
        let BrokerError::Unsupported(why) = &error else {
            panic!("{error}")
        };
        assert!(
            why.contains("OPENFLOW_EMQX_URL") && why.contains("OPENFLOW_EMQX_API_KEY"),
            "{why}"
        );
    }
    drop(listener);
    let error = without.ping().await.unwrap_err();
    assert!(matches!(error, BrokerError::Unavailable(_)), "{error}");
}

#[tokio::test]
async fn a_ping_asks_broker_and_api() {
    let fake = FakeEmqx::default();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("mqtt://{}", listener.local_addr().unwrap());
    let api = fake.start().await;
    let emqx = emqx(&url, Some(&api));
    // The API is not as it should be.
    let error = emqx.ping().await.unwrap_err();
    assert!(matches!(error, BrokerError::Refused(_)), "{error}");
    let nodes: Value = json!([{"node": "emqx@127.0.0.1", "version": "5.8.9"}]);
    fake.inside().settings.insert("/nodes".to_owned(), nodes);
    emqx.ping().await.unwrap();
}
