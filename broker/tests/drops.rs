//! Bursts are not lost; what is lost is counted. The counters rest on trace events of the library, so this fails when
//! they change.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a failed step fails the test"
)]
mod support;

use std::time::Duration;

use openflow_broker::{DropReason, Limits, drop_layer};
use support::{A, Options, TestBroker, V4, V5, until};
use tracing_subscriber::{
    EnvFilter, Layer as _, layer::SubscriberExt as _, util::SubscriberInitExt as _,
};

/// As a program would: with a log that shows little.
fn listen() {
    let log = tracing_subscriber::fmt::layer()
        .with_test_writer()
        .with_filter(EnvFilter::new("warn,mqtt5=error"));
    tracing_subscriber::registry()
        .with(drop_layer())
        .with(log)
        .try_init()
        .ok();
}

async fn unlimited() -> TestBroker {
    listen();
    TestBroker::with(Limits {
        messages_per_second: u32::MAX,
        bytes_per_second: u64::MAX,
        queued_messages: 10,
        ..Limits::default()
    })
    .await
}

fn dropped(test: &TestBroker, reason: DropReason) -> u64 {
    test.broker
        .stats()
        .dropped
        .get(&reason)
        .copied()
        .unwrap_or(0)
}

async fn burst(test: &TestBroker, count: usize) -> Vec<support::client::Publish> {
    let mut reader = test.client(V4, "ann", "r").await;
    reader.subscribe("#", 0).await;
    let mut sender = test.client(V4, "ada", "s").await;
    let mut bytes = Vec::new();
    for number in 0..count {
        bytes.extend(sender.publish_packet("x", format!("{number:0300}").as_bytes(), 0, &[]));
    }
    let sending = async {
        sender.send(&bytes).await;
        sender.publish("end", "", 1, false).await;
    };
    // More than the sockets and a lane hold comes while the reader is busy with something else.
    let reading = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        reader.until("end").await
    };
    let (messages, ()) = tokio::join!(reading, sending);
    messages
}

#[tokio::test]
async fn a_burst_on_one_thread_arrives_complete_and_in_order() {
    let test = unlimited().await;
    let messages = burst(&test, 100_000).await;
    let numbers = messages.iter().map(|message| message.text());
    assert!(numbers.eq((0..100_000).map(|number| format!("x {number:0300}"))));
    assert_eq!(dropped(&test, DropReason::Lane), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_burst_on_many_threads_arrives_complete_and_in_order() {
    let test = unlimited().await;
    let messages = burst(&test, 100_000).await;
    let numbers = messages.iter().map(|message| message.text());
    assert!(numbers.eq((0..100_000).map(|number| format!("x {number:0300}"))));
    assert_eq!(dropped(&test, DropReason::Lane), 0);
}

#[tokio::test]
async fn a_lane_that_overflows_is_counted() {
    let test = unlimited().await;
    let mut reader = test.client(V4, "ann", "r").await;
    for number in 0..75 {
        reader.subscribe(&format!("$share/{number}/#"), 0).await;
        reader.subscribe(&format!("$share/{number}/+"), 0).await;
    }
    // Each of 400 messages comes 150 times, while the reader does not read.
    let all = 400 * 150;
    let mut sender = test.client(V4, "ada", "s").await;
    let bytes = sender
        .publish_packet("x", &[b'x'; 2_000], 0, &[])
        .repeat(400);
    sender.send(&bytes).await;
    sender.publish("nobody/listens", "", 1, false).await;
    let dropped = dropped(&test, DropReason::Lane);
    assert!(
        dropped > 0,
        "nothing overflowed, or the library does not tell"
    );
    let mut arrived = 0;
    while arrived + dropped < all {
        arrived += u64::from(reader.next().await.topic == "x");
    }
    reader.unsubscribe("$share/0/#").await;
    assert_eq!(
        dropped,
        crate::dropped(&test, DropReason::Lane),
        "all that was not dropped came"
    );
    until(|| {
        let seen = test.seen.dropped.lock().unwrap();
        assert!(
            seen.iter()
                .all(|seen| (seen.0, seen.2) == (A, DropReason::Lane))
        );
        let sum: u64 = seen.iter().map(|(_, count, _)| count).sum();
        (sum == dropped).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_queue_that_overflows_is_counted() {
    let test = unlimited().await;
    let options = Options::new(V5, "ann", "r").persistent();
    let mut reader = test.client_with(options.clone()).await;
    reader.subscribe("x", 1).await;
    reader.disconnect().await;
    let mut sender = test.client(V4, "ada", "s").await;
    for number in 0..25 {
        sender.publish("x", &number.to_string(), 1, false).await;
    }
    assert_eq!(dropped(&test, DropReason::Queue), 15);
    let mut reader = test.client_with(options).await;
    for number in 15..25 {
        assert_eq!(reader.next().await.text(), format!("x {number}"));
    }
}

#[tokio::test]
async fn what_goes_back_to_a_queue_and_does_not_fit_is_counted() {
    let test = unlimited().await;
    let options = Options::new(V5, "ann", "r").persistent();
    let mut reader = test.client_with(options.clone()).await;
    reader.acknowledges = false;
    reader.subscribe("x", 1).await;
    let mut sender = test.client(V4, "ada", "s").await;
    for number in 0..50 {
        sender.publish("x", &number.to_string(), 1, false).await;
    }
    for number in 0..50 {
        assert_eq!(reader.next().await.text(), format!("x {number}"));
    }
    drop(reader);
    test.seen.end_of("ann").await;
    assert_eq!(dropped(&test, DropReason::Queue), 40);
    let mut reader = test.client_with(options).await;
    for number in 0..10 {
        assert_eq!(reader.next().await.text(), format!("x {number}"));
    }
}

#[tokio::test]
async fn all_retained_messages_reach_a_new_subscription() {
    let test = unlimited().await;
    let mut sender = test.client(V4, "ada", "s").await;
    for number in 0..300 {
        sender
            .publish(&format!("kept/{number}"), "x", 1, true)
            .await;
    }
    for qos in 0..2 {
        let mut reader = test.client(V4, "ann", "r").await;
        reader.subscribe("#", qos).await;
        for _ in 0..300 {
            assert!(reader.next().await.retain);
        }
    }
    assert_eq!(dropped(&test, DropReason::Lane), 0);
}
