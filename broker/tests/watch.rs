//! Looking on and publishing from the program.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a failed step fails the test"
)]
mod support;

use futures_util::StreamExt as _;
use openflow_broker::{Message, PublishError, Qos};
use support::{A, B, TestBroker, V4, V5, until};

fn message(topic: &str, payload: &str, qos: Qos, retain: bool) -> Message {
    Message {
        topic: topic.to_owned(),
        payload: payload.to_owned().into(),
        qos,
        retain,
    }
}

#[tokio::test]
async fn a_watch_sees_the_retained_messages_first_and_then_all() {
    let test = TestBroker::new().await;
    let mut ada = test.client(V5, "ada", "a").await;
    ada.publish("kept", "before", 1, true).await;
    let mut watch = test.broker.watch(A, "#").await.unwrap();
    let mut foreign = test.broker.watch(B, "#").await.unwrap();
    let seen = watch.next().await;
    assert_eq!(
        seen,
        Some(message("kept", "before", Qos::AtLeastOnce, true))
    );
    for qos in [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce] {
        ada.publish("x/y", "now", qos.as_u8(), false).await;
        assert_eq!(watch.next().await, Some(message("x/y", "now", qos, false)));
    }
    let end = message("end", "", Qos::AtMostOnce, false);
    test.broker.publish(B, end.clone()).await.unwrap();
    assert_eq!(foreign.next().await, Some(end));
    assert_eq!((watch.lost(), foreign.lost()), (0, 0));
    assert_eq!(test.broker.connections(A).len(), 1, "a watch is no client");
}

#[tokio::test]
async fn who_does_not_look_loses_the_oldest_and_holds_up_nobody() {
    let test = TestBroker::new().await;
    let mut watch = test.broker.watch(A, "#").await.unwrap();
    for number in 0..10_100 {
        let message = message("x", &number.to_string(), Qos::AtMostOnce, false);
        test.broker.publish(A, message).await.unwrap();
    }
    until(|| (watch.lost() == 100).then_some(())).await;
    assert_eq!(watch.next().await.unwrap().payload, "100");
}

#[tokio::test]
async fn nothing_is_left_of_a_watch_and_a_purge_ends_it() {
    let test = TestBroker::new().await;
    let mut watch = test.broker.watch(A, "x").await.unwrap();
    drop(test.broker.watch(A, "#").await.unwrap());
    test.broker.purge(A).await.unwrap();
    assert_eq!(watch.next().await, None);
    for filter in ["", "a/#/b", "a+", "$share/g/x", "$share/g"] {
        assert!(test.broker.watch(A, filter).await.is_err(), "{filter}");
    }
}

#[tokio::test]
async fn the_program_publishes_to_clients() {
    let test = TestBroker::new().await;
    let mut ada = test.client(V5, "ada", "a").await;
    let mut bob = test.client(V4, "bob", "b").await;
    for client in [&mut ada, &mut bob] {
        client.subscribe("#", 2).await;
    }
    for qos in [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce] {
        let sent = message("x", "hello", qos, false);
        test.broker.publish(A, sent).await.unwrap();
        let got = ada.next().await;
        assert_eq!((got.text().as_str(), got.qos), ("x hello", qos.as_u8()));
        assert!(got.properties.is_empty());
    }
    test.broker
        .publish(A, message("kept", "x", Qos::AtLeastOnce, true))
        .await
        .unwrap();
    let mut late = test.client(V4, "ann", "l").await;
    late.subscribe("kept", 1).await;
    assert!(late.next().await.retain);
    for topic in ["", "a/+", "#", "$SYS/x", "a\0"] {
        let refused = test
            .broker
            .publish(A, message(topic, "x", Qos::AtMostOnce, false))
            .await;
        assert!(matches!(refused, Err(PublishError::Topic)), "{topic}");
    }
    let large = "x".repeat(test.limits.retained_bytes + 1);
    let refused = test
        .broker
        .publish(A, message("x", &large, Qos::AtMostOnce, true))
        .await;
    assert!(matches!(refused, Err(PublishError::TooLarge { .. })));
    test.broker
        .publish(B, message("end", "", Qos::AtMostOnce, false))
        .await
        .unwrap();
    assert_eq!(bob.next().await.topic, "end");
}
