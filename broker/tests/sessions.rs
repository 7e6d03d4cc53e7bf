//! Client ids, sessions, and what a restart keeps.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a failed step fails the test"
)]
mod support;

use openflow_broker::{Limits, Message, Qos};
use support::{A, Options, TestBroker, V4, V5, until};
use uuid::Uuid;

#[tokio::test]
async fn any_client_id_works_and_is_shown_as_it_was_given() {
    let test = TestBroker::new().await;
    let long = "x".repeat(500);
    for version in [V4, V5] {
        for id in [
            "a/b",
            "a\\b",
            "..",
            "../../etc",
            "~a",
            "ünï",
            "cert:x",
            "a b",
            &long,
        ] {
            let options = Options::new(version, "ada", id).persistent();
            let mut client = test.client_with(options.clone()).await;
            client.subscribe("x", 1).await;
            let shown = test.broker.connections(A);
            assert_eq!(shown.len(), 1, "{shown:?}");
            assert_eq!(shown[0].client_id, id);
            assert_eq!(shown[0].username, "ada");
            assert_eq!(
                shown[0].protocol.as_str(),
                if version == V5 { "5" } else { "3.1.1" }
            );
            client.disconnect().await;
            let message = Message {
                topic: "x".to_owned(),
                payload: "queued".into(),
                qos: Qos::AtLeastOnce,
                retain: false,
            };
            test.broker.publish(A, message).await.unwrap();
            let mut client = test.client_with(options).await;
            assert!(client.session_present, "{id}");
            assert_eq!(client.next().await.text(), "x queued");
            client.unsubscribe("x").await;
            client.disconnect().await;
            until(|| test.broker.connections(A).is_empty().then_some(())).await;
        }
    }
}

#[tokio::test]
async fn an_empty_client_id_is_assigned_one() {
    let test = TestBroker::new().await;
    let client = test.client(V5, "ada", "").await;
    let shown = test.broker.connections(A)[0].client_id.clone();
    let said = String::from_utf8_lossy(&client.properties).into_owned();
    assert!(!shown.is_empty() && said.contains(&shown), "{said}");
    // It is a real id: its session can be taken up with it.
    client.disconnect().await;
    let client = test
        .client_with(Options::new(V5, "ada", "").persistent())
        .await;
    let mine = until(|| test.broker.connections(A).pop()).await.client_id;
    client.disconnect().await;
    let client = test
        .client_with(Options::new(V5, "ada", &mine).persistent())
        .await;
    assert!(client.session_present);
    test.client(V4, "ann", "").await;
    assert_eq!(
        test.refusal(Options::new(V4, "ann", "").persistent()).await,
        2
    );
}

#[tokio::test]
async fn a_newer_connection_takes_over_and_another_user_does_not_get_the_session() {
    let test = TestBroker::new().await;
    let options = Options::new(V5, "ada", "id").persistent();
    let mut old = test.client_with(options.clone()).await;
    old.subscribe("x", 1).await;
    let new = test.client_with(options.clone()).await;
    assert!(new.session_present);
    assert_eq!(old.end().await, Some(0x8e));
    assert_eq!(
        test.seen.end_of("ada").await,
        "taken over by a newer connection"
    );
    new.disconnect().await;
    let other = Options::new(V5, "ann", "id").persistent();
    assert_eq!(test.refusal(other).await, 0x87);
    assert!(test.client_with(options).await.session_present);
    let mut old = test.client(V4, "all", "4").await;
    let _new = test.client(V4, "all", "4").await;
    assert_eq!(
        old.end().await,
        None,
        "3.1.1 has no DISCONNECT from the server"
    );
}

#[tokio::test]
async fn a_restart_keeps_sessions_queues_and_retained_messages() {
    for orderly in [true, false] {
        let test = TestBroker::new().await;
        let options = Options::new(V5, "ada", "a/b").persistent();
        let mut client = test.client_with(options.clone()).await;
        client.subscribe("x/#", 2).await;
        client.disconnect().await;
        let mut sender = test.client(V4, "ann", "s").await;
        for number in 0..50 {
            sender
                .publish("x/y", &number.to_string(), 1 + number % 2, false)
                .await;
        }
        sender.publish("kept", "retained", 1, true).await;
        let test = if orderly {
            test.restart().await
        } else {
            // As after a kill: what is on disk is copied while the broker runs, once the queue has been written.
            let queue = test.dir.path().join(A.to_string()).join("queues/");
            let id = std::fs::read_dir(&queue)
                .ok()
                .and_then(|mut ids| ids.next());
            let count = |id: &Option<std::io::Result<std::fs::DirEntry>>| {
                let path = id.as_ref()?.as_ref().ok()?.path();
                Some(std::fs::read_dir(path).ok()?.count())
            };
            let mut id = id;
            until(|| {
                if id.is_none() {
                    id = std::fs::read_dir(&queue)
                        .ok()
                        .and_then(|mut ids| ids.next());
                }
                (count(&id) == Some(50)).then_some(())
            })
            .await;
            let copy = std::sync::Arc::new(tempfile::TempDir::new().unwrap());
            copy_folder(test.dir.path(), copy.path());
            TestBroker::in_dir(copy, test.limits.clone()).await
        };
        let mut client = test.client_with(options).await;
        assert!(client.session_present, "orderly: {orderly}");
        for number in 0..50 {
            assert_eq!(client.next().await.text(), format!("x/y {number}"));
        }
        let mut reader = test.client(V4, "ann", "r").await;
        reader.subscribe("#", 0).await;
        assert_eq!(reader.next().await.text(), "kept retained");
    }
}

fn copy_folder(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}

#[tokio::test]
async fn a_kick_ends_connections_and_publishes_the_will() {
    let test = TestBroker::new().await;
    let mut watcher = test.client(V5, "ann", "w").await;
    watcher.subscribe("gone", 1).await;
    let will = |version, id| Options::new(version, "ada", id).will("gone", id, false);
    let mut four = test.client_with(will(V4, "four")).await;
    let mut five = test.client_with(will(V5, "five")).await;
    assert_eq!(test.broker.kick("ada"), 2);
    assert_eq!(five.end().await, Some(0x98));
    assert_eq!(four.end().await, None);
    let mut wills = [watcher.next().await.text(), watcher.next().await.text()];
    wills.sort();
    assert_eq!(wills, ["gone five", "gone four"]);
    assert_eq!(test.seen.end_of("ada").await, "kicked");
    watcher.ping().await;
    assert_eq!(test.broker.kick("ada"), 0);
}

#[tokio::test]
async fn a_forgotten_user_leaves_no_session() {
    let test = TestBroker::new().await;
    let of = |user: &str, id: &str| Options::new(V5, user, id).persistent();
    let mut live = test.client_with(of("ada", "live")).await;
    let mut gone = test.client_with(of("ada", "gone")).await;
    gone.subscribe("x", 1).await;
    gone.disconnect().await;
    let other = test.client_with(of("ann", "other")).await;
    other.disconnect().await;
    test.broker.forget(A, "ada").await.unwrap();
    assert_eq!(live.end().await, Some(0x98));
    for id in ["live", "gone"] {
        assert!(
            !test.client_with(of("ada", id)).await.session_present,
            "{id}"
        );
    }
    assert!(test.client_with(of("ann", "other")).await.session_present);
}

#[tokio::test]
async fn a_purge_removes_a_tenant_and_no_other() {
    let test = TestBroker::new().await;
    let mut ada = test
        .client_with(Options::new(V4, "ada", "id").persistent())
        .await;
    ada.publish("kept", "a", 1, true).await;
    let mut bob = test.client(V4, "bob", "id").await;
    bob.publish("kept", "b", 1, true).await;
    test.broker.purge(A).await.unwrap();
    assert!(!test.dir.path().join(A.to_string()).exists());
    assert_eq!(ada.end().await, None);
    test.broker.purge(A).await.unwrap();
    test.broker.purge(Uuid::from_u128(1)).await.unwrap();
    bob.subscribe("#", 1).await;
    assert_eq!(bob.next().await.text(), "kept b");
    let mut ada = test
        .client_with(Options::new(V4, "ada", "id").persistent())
        .await;
    assert!(!ada.session_present);
    ada.subscribe("#", 1).await;
    ada.publish("end", "", 1, false).await;
    assert_eq!(ada.next().await.topic, "end");
}

#[tokio::test]
async fn an_unused_tenant_leaves_memory_and_comes_back() {
    let limits = Limits {
        idle_timeout: std::time::Duration::from_millis(100),
        ..Limits::default()
    };
    let test = TestBroker::with(limits).await;
    let options = Options::new(V5, "ada", "id").persistent();
    let mut ada = test.client_with(options.clone()).await;
    ada.subscribe("x", 1).await;
    ada.publish("kept", "retained", 1, true).await;
    assert!(test.broker.stats().tenants.contains_key(&A));
    ada.disconnect().await;
    until(|| test.broker.stats().tenants.is_empty().then_some(())).await;
    assert_eq!(test.broker.stats().messages_in, 1, "totals stay");
    let message = Message {
        topic: "x".to_owned(),
        payload: "woken".into(),
        qos: Qos::ExactlyOnce,
        retain: false,
    };
    test.broker.publish(A, message).await.unwrap();
    let (one, two) = tokio::join!(
        test.client_with(options),
        test.client(V4, "ann", "at the same time"),
    );
    let (mut ada, mut ann) = (one, two);
    assert!(ada.session_present);
    assert_eq!(ada.next().await.text(), "x woken");
    ann.subscribe("#", 1).await;
    assert_eq!(ann.next().await.text(), "kept retained");
}

#[tokio::test]
async fn a_storage_that_cannot_be_opened_refuses() {
    let test = TestBroker::new().await;
    std::fs::write(test.dir.path().join(A.to_string()), "no folder").unwrap();
    assert_eq!(test.refusal(Options::new(V4, "ada", "id")).await, 3);
    assert_eq!(test.refusal(Options::new(V5, "ada", "id")).await, 0x88);
    test.client(V5, "bob", "id").await;
    std::fs::remove_file(test.dir.path().join(A.to_string())).unwrap();
    test.client(V5, "ada", "id").await;
}
