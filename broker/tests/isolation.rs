//! Nothing of one tenant reaches another.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a failed step fails the test"
)]
mod support;

use support::{A, B, Options, TestBroker, V4, V5};

const FILTERS: [&str; 22] = [
    "#",
    "+",
    "+/#",
    "+/+",
    "+/+/#",
    "/#",
    "/+",
    "ff/#",
    "ff/+/#",
    "$share/x/#",
    "$share/x/+/#",
    "$share/g/secret/#",
    "$SYS/#",
    "$share/x/$SYS/#",
    "$queue/#",
    "$queue/secret/a",
    "../#",
    "../x",
    "secret/#",
    "secret/a",
    "a/#",
    "0000000a/#",
];

#[tokio::test]
async fn a_foreign_tenant_sees_nothing_whatever_it_subscribes_to() {
    for (ours, theirs) in [(V4, V4), (V4, V5), (V5, V4), (V5, V5)] {
        let test = TestBroker::new().await;
        let mut ada = test.client(ours, "ada", "id").await;
        ada.publish("secret/old", "retained before", 1, true).await;
        let will = Options::new(ours, "ada", "with a will").will("secret/will", "last", true);
        let dying = test.client_with(will).await;
        for qos in 0..3 {
            let mut bob = test.client(theirs, "bob", "id").await;
            for filter in FILTERS {
                bob.subscribe(filter, qos).await;
            }
            let mut friend = test.client(theirs, "ann", "friend").await;
            assert_eq!(friend.subscribe("secret/#", qos).await, qos);
            for topic in ["secret/a", "secret/b", "/x", "ff/a/x", "x"] {
                ada.publish(topic, "for friends", qos, false).await;
                ada.publish(topic, "and kept", qos, true).await;
            }
            ada.publish("secret/end", "", qos, false).await;
            let seen = friend.until("secret/end").await;
            assert!(seen.len() >= 4, "friends see it: {seen:?}");
            bob.publish("end", "", qos, false).await;
            // One copy for each subscription is allowed; whatever came is ours.
            let first = bob.next().await;
            assert_eq!(first.topic, "end", "v{theirs} qos {qos}");
        }
        drop(dying);
        let mut friend = test.client(ours, "ann", "friend").await;
        friend.subscribe("secret/will", 1).await;
        assert_eq!(friend.next().await.text(), "secret/will last");
        let mut bob = test.client(theirs, "bob", "late").await;
        bob.subscribe("#", 1).await;
        bob.publish("end", "", 1, false).await;
        assert_eq!(
            bob.next().await.topic,
            "end",
            "no retained message, no will"
        );
    }
}

#[tokio::test]
async fn a_tenant_cannot_publish_to_another() {
    let test = TestBroker::new().await;
    let mut ada = test.client(V5, "ada", "id").await;
    ada.subscribe("#", 2).await;
    let mut bob = test.client(V5, "bob", "id").await;
    let prefix = format!("ff/{A}/x");
    for topic in ["x", "/x", "../x", "$share/x/x", &prefix, "$queue/x", "$x"] {
        bob.publish(topic, "hello", 1, true).await;
    }
    assert_eq!(bob.publish("$SYS/broker/x", "hello", 1, true).await, 0x87);
    assert_eq!(bob.publish("$SYS", "hello", 2, false).await, 0x87);
    ada.publish("end", "", 0, false).await;
    assert_eq!(ada.next().await.topic, "end");
}

#[tokio::test]
async fn the_same_client_id_in_two_tenants_is_two_clients() {
    let test = TestBroker::new().await;
    let mut ada = test
        .client_with(Options::new(V4, "ada", "id").persistent())
        .await;
    ada.subscribe("x", 1).await;
    let bob = test
        .client_with(Options::new(V5, "bob", "id").persistent())
        .await;
    assert!(!bob.session_present, "it is not Ada's");
    ada.ping().await; // alive
    ada.disconnect().await;
    let mut other = test.client(V4, "ann", "other").await;
    other.publish("x", "waits for Ada", 1, false).await;
    bob.disconnect().await;
    let mut bob = test
        .client_with(Options::new(V5, "bob", "id").persistent())
        .await;
    assert!(bob.session_present);
    bob.subscribe("end", 1).await;
    bob.publish("end", "", 1, false).await;
    assert_eq!(bob.next().await.topic, "end", "Ada's queue is hers");
    let mut ada = test
        .client_with(Options::new(V4, "ada", "id").persistent())
        .await;
    assert!(ada.session_present);
    assert_eq!(ada.next().await.text(), "x waits for Ada");
    assert_eq!(test.broker.connections(A).len(), 2);
    assert_eq!(test.broker.connections(B).len(), 1);
}

#[tokio::test]
async fn share_groups_balance_within_a_tenant() {
    let test = TestBroker::new().await;
    let mut ones = [
        test.client(V4, "ada", "1").await,
        test.client(V5, "ann", "2").await,
        test.client(V5, "bob", "3").await,
    ];
    for one in &mut ones {
        one.subscribe("$share/g/work/#", 1).await;
        one.subscribe("end", 1).await;
    }
    let mut sender = test.client(V4, "ada", "sender").await;
    for number in 0..20 {
        sender
            .publish("work/x", &number.to_string(), 1, false)
            .await;
    }
    sender.publish("end", "", 1, false).await;
    ones[2].publish("end", "", 1, false).await;
    let mut counts = Vec::new();
    for one in &mut ones {
        counts.push(one.until("end").await.len());
    }
    assert_eq!(counts, [10, 10, 0]);
}
