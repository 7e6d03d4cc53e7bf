//! Everything has a limit, and a client that goes too far harms only itself.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a failed step fails the test"
)]
mod support;

use std::time::Duration;

use openflow_broker::{Limits, RefusedReason};
use support::{A, Client, Options, TestBroker, V4, V5, client::packet, until};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

#[tokio::test]
async fn a_tenant_has_a_number_of_connections() {
    let test = TestBroker::with(Limits {
        connections: 2,
        ..Limits::default()
    })
    .await;
    let one = test.client(V4, "ada", "1").await;
    let _two = test.client(V5, "ada", "2").await;
    assert_eq!(test.refusal(Options::new(V4, "ada", "3")).await, 3);
    assert_eq!(test.refusal(Options::new(V5, "ann", "3")).await, 0x97);
    let refused = test.seen.refused.lock().unwrap().pop();
    assert_eq!(
        refused,
        Some(("ann".to_owned(), RefusedReason::TooManyConnections))
    );
    assert_eq!(
        test.broker.stats().refused[&RefusedReason::TooManyConnections],
        2
    );
    test.client(V4, "bob", "other tenants have their own").await;
    one.disconnect().await;
    until(|| (test.broker.stats().tenants[&A].connections == 1).then_some(())).await;
    test.client(V5, "ada", "3").await;
}

#[tokio::test]
async fn a_tenant_has_a_number_of_sessions() {
    let test = TestBroker::with(Limits {
        sessions: 2,
        ..Limits::default()
    })
    .await;
    let of = |id: &str| Options::new(V5, "ada", id).persistent();
    for id in ["1", "2"] {
        test.client_with(of(id)).await.disconnect().await;
    }
    assert_eq!(test.refusal(of("3")).await, 0x97);
    assert!(
        test.client_with(of("1")).await.session_present,
        "an old one goes on"
    );
    test.client(V5, "ada", "clean").await;
}

#[tokio::test]
async fn the_rate_holds_back_and_loses_nothing() {
    let test = TestBroker::with(Limits {
        messages_per_second: 200,
        ..Limits::default()
    })
    .await;
    let mut reader = test.client(V4, "ann", "r").await;
    reader.subscribe("#", 0).await;
    let mut sender = test.client(V4, "ada", "s").await;
    let mut burst = Vec::new();
    for number in 0..500 {
        burst.extend(sender.publish_packet("x", number.to_string().as_bytes(), 0, &[]));
    }
    let start = std::time::Instant::now();
    sender.send(&burst).await;
    for number in 0..500 {
        assert_eq!(reader.next().await.text(), format!("x {number}"));
    }
    // A second's worth is free; the other 300 take 1.5 seconds, however fast the machine is.
    assert!(
        start.elapsed() > Duration::from_millis(1_300),
        "{:?}",
        start.elapsed()
    );
}

#[tokio::test]
async fn retained_messages_are_bounded_in_number_and_size() {
    let test = TestBroker::with(Limits {
        retained_messages: 2,
        retained_bytes: 100,
        ..Limits::default()
    })
    .await;
    let mut ada = test.client(V5, "ada", "a").await;
    assert_eq!(ada.publish("1", "x", 1, true).await, 0);
    assert_eq!(ada.publish("2", "x", 2, true).await, 0);
    assert_eq!(ada.publish("3", "x", 1, true).await, 0x97);
    assert_eq!(ada.publish("1", &"x".repeat(101), 1, true).await, 0x97);
    assert_eq!(
        ada.publish("1", "new", 1, true).await,
        0,
        "a known topic may change"
    );
    assert_eq!(ada.publish("2", "", 1, true).await, 0, "and go");
    assert_eq!(ada.publish("3", "x", 1, true).await, 0);
    assert_eq!(test.broker.stats().tenants[&A].retained, Some(2));
    ada.subscribe("#", 1).await;
    let mut kept = [ada.next().await.text(), ada.next().await.text()];
    kept.sort();
    assert_eq!(kept, ["1 new", "3 x"]);
}

#[tokio::test]
async fn subscriptions_of_a_client_are_bounded() {
    let test = TestBroker::with(Limits {
        subscriptions: 3,
        ..Limits::default()
    })
    .await;
    let mut ada = test.client(V5, "ada", "a").await;
    for filter in ["1", "2/#", "$share/g/3"] {
        assert_eq!(ada.subscribe(filter, 1).await, 1);
    }
    assert_eq!(ada.subscribe("4", 1).await, 0x97);
    assert_eq!(ada.subscribe("1", 2).await, 2);
}

#[tokio::test]
async fn a_packet_that_is_too_large_ends_the_connection() {
    let test = TestBroker::with(Limits {
        packet_bytes: 10_000,
        ..Limits::default()
    })
    .await;
    let mut ada = test.client(V5, "ada", "a").await;
    let fits = ada.publish_packet("x", &[b'x'; 9_000], 2, &[]);
    ada.send(&fits).await;
    ada.ping_after_acks(1).await;
    let large = ada.publish_packet("x", &[b'x'; 10_000], 0, &[]);
    ada.send(&large[..100]).await; // what is announced is enough
    ada.end().await;
    assert!(test.seen.end_of("ada").await.contains("10000 are allowed"));
}

#[tokio::test]
async fn malformed_connects_are_closed_and_nothing_else_happens() {
    let test = TestBroker::new().await;
    let good = Options::new(V5, "ada", "id").will("t", "p", true).packet();
    let mut bad: Vec<Vec<u8>> = vec![
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        vec![0x16, 3, 1, 0, 0],
        vec![0xc0, 0],
        vec![0x10, 0xff, 0xff, 0xff, 0xff, 0x7f],
        vec![0x10, 0xff, 0xff, 0xff, 0x7f],
        packet(0x10, b""),
        packet(0x10, b"\0\x04MQTX\x04\x02\0\0\0\0"),
        packet(0x10, b"\xff\xffMQTT"),
        packet(0x11, b"\0\x04MQTT\x04\x02\0\0\0\0"),
        packet(0x10, b"\0\x04MQTT\x04\x03\0\0\0\0"),
        packet(0x10, b"\0\x04MQTT\x04\x1e\0\0\0\x01a\0\x01t\0\x01p"),
        packet(0x10, b"\0\x04MQTT\x04\x42\0\0\0\x01a\0\x01p"),
        packet(0x10, b"\0\x04MQTT\x04\x02\0\0\0\x02\xff\xfe"),
        packet(0x10, b"\0\x04MQTT\x04\x02\0\0\0\x03a\0b"),
        packet(0x10, b"\0\x04MQTT\x05\x02\0\0\xff\xff\xff\x7f\0\0"),
    ];
    // Each byte in turn, and each shorter body.
    for at in 2..good.len() {
        let mut flipped = good.clone();
        flipped[at] ^= 0xff;
        bad.push(flipped);
        bad.push(packet(0x10, &good[2..at]));
    }
    for bytes in bad {
        let mut stream = TcpStream::connect(test.address).await.unwrap();
        stream.write_all(&bytes).await.unwrap();
        stream.shutdown().await.ok();
        let mut answer = Vec::new();
        let reading = stream.read_to_end(&mut answer);
        timeout(support::DEADLINE, reading)
            .await
            .expect("an end")
            .ok();
        if !answer.is_empty() {
            assert_eq!(answer[0], 0x20, "{bytes:x?} is answered {answer:x?}");
        }
    }
    test.client(V5, "bob", "fine").await.ping().await;
}

#[tokio::test]
async fn other_versions_are_told_so() {
    let test = TestBroker::new().await;
    let table: [(&[u8], &[u8]); 3] = [
        (b"\0\x06MQIsdp\x03\x02\0\0\0\x01a", &[0x20, 2, 0, 1]),
        (b"\0\x04MQTT\x03\x02\0\0\0\x01a", &[0x20, 2, 0, 1]),
        (b"\0\x04MQTT\x06\x02\0\0\0\0\x01a", &[0x20, 3, 0, 0x84, 0]),
    ];
    for (body, expected) in table {
        let mut stream = TcpStream::connect(test.address).await.unwrap();
        stream.write_all(&packet(0x10, body)).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        assert_eq!(answer, expected);
    }
}

#[tokio::test]
async fn who_says_nothing_is_closed_and_does_not_take_all_places() {
    let test = TestBroker::with(Limits {
        pending_per_address: 3,
        connect_timeout: Duration::from_secs(1),
        ..Limits::default()
    })
    .await;
    let mut silent = Vec::new();
    for _ in 0..3 {
        silent.push(TcpStream::connect(test.address).await.unwrap());
    }
    until(|| (test.broker.stats().pending >= 3).then_some(())).await;
    let mut fourth = TcpStream::connect(test.address).await.unwrap();
    let mut byte = [0];
    assert_eq!(
        fourth.read(&mut byte).await.unwrap_or(0),
        0,
        "closed at once"
    );
    for mut stream in silent {
        stream.write_all(&[0x10]).await.ok();
        assert_eq!(
            stream.read(&mut byte).await.unwrap_or(0),
            0,
            "closed after the timeout"
        );
    }
    test.client(V4, "ada", "id").await;
}

#[tokio::test]
async fn a_reader_whose_socket_takes_nothing_is_cut_and_others_go_on() {
    let test = TestBroker::with(Limits {
        write_timeout: Duration::from_millis(500),
        ..Limits::default()
    })
    .await;
    let mut stuck = test.client(V4, "all", "stuck").await;
    stuck.subscribe("#", 0).await;
    let mut reader = test.client(V4, "ann", "r").await;
    reader.subscribe("#", 0).await;
    let mut sender = test.client(V4, "ada", "s").await;
    let bytes = sender.publish_packet("x", &vec![b'x'; 500_000], 0, &[]);
    let sending = async {
        for _ in 0..100 {
            sender.send(&bytes).await;
        }
        sender
    };
    let reading = async {
        for _ in 0..100 {
            assert_eq!(reader.next().await.payload.len(), 500_000);
        }
    };
    let (_sender, ()) = tokio::join!(sending, reading);
    assert_eq!(test.seen.end_of("all").await, "the client does not read");
}

#[tokio::test]
async fn a_client_that_never_acknowledges_does_not_fill_the_memory() {
    let test = TestBroker::with(Limits {
        messages_per_second: 1_000_000,
        bytes_per_second: 1 << 40,
        ..Limits::default()
    })
    .await;
    let mut silent = test.client(V5, "all", "silent").await;
    silent.acknowledges = false;
    silent.subscribe("#", 1).await;
    let silent = tokio::spawn(async move {
        let mut count = 0;
        while silent.read().await.is_some() {
            count += 1;
        }
        count
    });
    let mut sender = test.client(V5, "ada", "s").await;
    let mut sent = 0;
    while !silent.is_finished() {
        let bytes = sender.publish_packet("x", &vec![b'x'; 1_000_000], 2, &[]);
        sender.send(&bytes).await;
        sender.expect(0x40).await;
        sent += 1;
        assert!(sent < 1_000, "a gigabyte would wait for the silent one");
    }
    assert_eq!(silent.await.unwrap(), 100, "as many as may be under way");
    assert_eq!(test.seen.end_of("all").await, "the client does not keep up");
}

#[tokio::test]
async fn a_client_may_have_thousands_of_exactly_once_messages_under_way() {
    let test = TestBroker::new().await;
    for version in [V4, V5] {
        let mut ada = test.client(version, "ada", "id").await;
        let mut burst = Vec::new();
        for _ in 0..5_000 {
            burst.extend(ada.publish_packet("x", b"small", 4, &[]));
        }
        ada.send(&burst).await;
        for _ in 0..5_000 {
            ada.expect(0x50).await;
        }
        ada.ping().await;
    }
}

#[tokio::test]
async fn unfinished_exactly_once_messages_are_bounded() {
    let test = TestBroker::new().await;
    let mut ada = test.client(V4, "ada", "id").await;
    for _ in 0..40 {
        let bytes = ada.publish_packet("x", &vec![b'x'; 1_000_000], 4, &[]);
        ada.send_or_end(&bytes).await;
    }
    assert_eq!(
        test.seen.end_of("ada").await,
        "too many unfinished QoS 2 messages"
    );
}

#[tokio::test]
async fn a_flood_of_one_tenant_leaves_another_its_turn() {
    let test = TestBroker::with(Limits {
        messages_per_second: u32::MAX,
        bytes_per_second: u64::MAX,
        ..Limits::default()
    })
    .await;
    let mut floods = Vec::new();
    for number in 0..4 {
        let mut flooder = test.client(V4, "ada", &format!("f{number}")).await;
        let bytes = flooder.publish_packet("x", b"flood", 0, &[]).repeat(1_000);
        floods.push(tokio::spawn(async move {
            loop {
                flooder.send(&bytes).await;
            }
        }));
    }
    let mut bob: Client = test.client(V5, "bob", "id").await;
    bob.subscribe("#", 2).await;
    for number in 0..200 {
        bob.publish("quiet", &number.to_string(), 2, false).await;
        assert_eq!(bob.next().await.text(), format!("quiet {number}"));
    }
    for flood in floods {
        flood.abort();
    }
}
