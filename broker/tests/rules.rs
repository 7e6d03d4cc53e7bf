//! Topic rules, and what a client of MQTT 5 gets of a message.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a failed step fails the test"
)]
mod support;

use std::sync::Arc;

use openflow_broker::{RefusedReason, TopicRules};
use support::{Options, TestBroker, V4, V5};

fn rules(publish: &[&str], subscribe: &[&str]) -> Arc<TopicRules> {
    let list = |filters: &[&str]| Some(filters.iter().map(|filter| (*filter).to_owned()).collect());
    Arc::new(TopicRules {
        publish: list(publish),
        subscribe: list(subscribe),
    })
}

async fn with_device() -> TestBroker {
    let test = TestBroker::new().await;
    let device = rules(&["up/+/data", "status"], &["down/#", "$SYS/a"]);
    test.users
        .rules
        .lock()
        .unwrap()
        .insert("a device".to_owned(), device);
    test
}

#[tokio::test]
async fn a_device_subscribes_to_what_its_rules_cover() {
    let test = with_device().await;
    let mut five = test.client(V5, "a device", "5").await;
    let mut four = test.client(V4, "a device", "4").await;
    let table = [
        ("down/#", true),
        ("down", true),
        ("down/+/x", true),
        ("$share/g/down/x", true),
        ("#", false),
        ("+/x", false),
        ("up/1/data", false),
        ("$share/g/#", false),
        ("$share/down/up", false),
        ("$SYS/#", false),
    ];
    for (filter, allowed) in table {
        let expected = if allowed { (1, 1) } else { (0x87, 0x80) };
        let answers = (
            five.subscribe(filter, 1).await,
            four.subscribe(filter, 1).await,
        );
        assert_eq!(answers, expected, "{filter}");
    }
}

#[tokio::test]
async fn a_device_publishes_what_its_rules_cover_its_will_included() {
    let test = with_device().await;
    let mut watcher = test.client(V4, "ada", "w").await;
    watcher.subscribe("#", 1).await;
    let mut device = test.client(V5, "a device", "5").await;
    for (topic, code) in [
        ("up/1/data", 0),
        ("status", 0),
        ("up/1", 0x87),
        ("down/x", 0x87),
    ] {
        for qos in 0..3 {
            let expected = if qos == 0 { 0 } else { code };
            assert_eq!(device.publish(topic, "x", qos, qos == 1).await, expected);
        }
    }
    device.publish("status", "end", 1, false).await;
    let mut seen: Vec<_> = watcher.next_until_text("status end").await;
    seen.dedup();
    assert_eq!(seen, ["up/1/data x", "status x"]);
    for (topic, published) in [("secret", false), ("status", true)] {
        let options = Options::new(V4, "a device", "dies").will(topic, "died", false);
        let dying = test.client_with(options).await;
        drop(dying);
        let mut ended = test.seen.disconnected.lock().unwrap().len();
        while ended == 0 {
            tokio::task::yield_now().await;
            ended = test.seen.disconnected.lock().unwrap().len();
        }
        if published {
            assert_eq!(watcher.next().await.text(), "status died");
        } else {
            watcher.publish("end", "", 1, false).await;
            assert_eq!(watcher.next().await.topic, "end", "no will on {topic}");
        }
        test.seen.disconnected.lock().unwrap().clear();
    }
}

#[tokio::test]
async fn refusals_are_told_in_the_words_of_each_version() {
    let test = TestBroker::new().await;
    test.users
        .removed
        .lock()
        .unwrap()
        .push("a removed".to_owned());
    for (user, four, five, reason) in [
        ("a removed", 4, 0x86, RefusedReason::BadCredentials),
        ("busy", 3, 0x89, RefusedReason::Busy),
    ] {
        for (version, code) in [(V4, four), (V5, five)] {
            assert_eq!(test.refusal(Options::new(version, user, "id")).await, code);
            let seen = test.seen.refused.lock().unwrap().pop();
            assert_eq!(seen, Some((user.to_owned(), reason)));
        }
    }
    let mut no_credentials = Options::new(V5, "ada", "id");
    no_credentials.password.clear();
    assert_eq!(test.refusal(no_credentials).await, 0x86);
}

#[tokio::test]
async fn properties_pass_unchanged_and_none_is_added() {
    let test = TestBroker::new().await;
    let mut ada = test.client(V5, "ada", "a").await;
    let mut ann = test.client(V5, "ann", "n").await;
    let mut old = test.client(V4, "ann", "4").await;
    ann.subscribe("#", 1).await;
    old.subscribe("#", 1).await;
    // Format, content type, response topic, correlation data, user property.
    let properties = b"\x01\x01\x03\0\x04text\x08\0\x05reply\x09\0\x02\x01\x02\x26\0\x01k\0\x01v";
    let (flags, topics) = ([0, 2, 3], ["zero", "one", "one kept"]);
    for (flags, topic) in flags.into_iter().zip(topics) {
        let bytes = ada.publish_packet(topic, b"payload", flags, properties);
        ada.send(&bytes).await;
    }
    ada.ping_after_acks(2).await;
    let mut late = test.client(V5, "ann", "l").await;
    late.subscribe("#", 1).await;
    for message in [
        ann.next().await,
        ann.next().await,
        ann.next().await,
        late.next().await,
    ] {
        let mut got = sorted(&message.properties);
        got.dedup();
        assert_eq!(got, sorted(properties), "{}", message.topic);
        assert_eq!(message.payload, b"payload");
    }
    for _ in topics {
        assert_eq!(old.next().await.payload, b"payload");
    }
}

/// The properties one by one, as their order means nothing.
fn sorted(properties: &[u8]) -> Vec<Vec<u8>> {
    let mut rest = properties;
    let mut parts = Vec::new();
    while !rest.is_empty() {
        let text = |at: usize| 2 + usize::from(u16::from_be_bytes([rest[at], rest[at + 1]]));
        let length = match rest[0] {
            0x01 => 2,
            0x26 => 1 + text(1) + text(1 + text(1)),
            _ => 1 + text(1),
        };
        let (part, tail) = rest.split_at(length);
        parts.push(part.to_vec());
        rest = tail;
    }
    parts.sort();
    parts
}
