//! The topic browser and publishing, through HTTP, on a broker that says what
//! the test wants.
#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]
mod support;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use futures_util::{StreamExt as _, stream};
use openflow_manager::mqtt::{Broker, BrokerError, BrokerKind, Connection, Message, Seen, Watch};
use serde_json::{Value, json};
use sqlx::PgPool;
use support::{Person, TestApp, instances::eventually, stream::Stream};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use uuid::Uuid;

const KIB: usize = 1 << 10;

/// Feeds watchers and remembers what was published.
#[derive(Default)]
struct FakeBroker {
    feeds: Mutex<Vec<(Uuid, mpsc::Sender<Seen>)>>,
    published: Mutex<Vec<(Uuid, Message)>>,
    watching: Arc<AtomicUsize>,
    refuses: Mutex<Option<BrokerError>>,
}

impl FakeBroker {
    /// To the newest watcher; waits while that one is slow.
    async fn feed(&self, seen: Seen) {
        let feed = self.feeds.lock().unwrap().last().unwrap().1.clone();
        feed.send(seen).await.unwrap();
    }

    async fn say(&self, topic: &str, payload: impl Into<bytes::Bytes>) {
        self.feed(Seen::Message(message(topic, payload))).await;
    }

    /// Ends as a broker does.
    fn end(&self) {
        self.feeds.lock().unwrap().clear();
    }

    fn watching(&self) -> usize {
        self.watching.load(Ordering::SeqCst)
    }

    fn refused(&self) -> Result<(), BrokerError> {
        self.refuses.lock().unwrap().clone().map_or(Ok(()), Err)
    }
}

fn message(topic: &str, payload: impl Into<bytes::Bytes>) -> Message {
    Message {
        topic: topic.to_owned(),
        payload: payload.into(),
        qos: 1,
        retain: true,
    }
}

/// Counts the watch that it is in.
struct Watching(Arc<AtomicUsize>);

impl Drop for Watching {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[async_trait]
impl Broker for FakeBroker {
    fn kind(&self) -> BrokerKind {
        BrokerKind::Emqx
    }

    async fn ping(&self) -> Result<(), BrokerError> {
        self.refused()
    }

    async fn connections(&self, _: Uuid) -> Result<Vec<Connection>, BrokerError> {
        Ok(Vec::new())
    }

    async fn kick(&self, _: &[String]) -> Result<usize, BrokerError> {
        Ok(0)
    }

    async fn purge(&self, _: Uuid) -> Result<(), BrokerError> {
        Ok(())
    }

    async fn publish(&self, project: Uuid, message: Message) -> Result<(), BrokerError> {
        self.refused()?;
        self.published.lock().unwrap().push((project, message));
        Ok(())
    }

    async fn watch(&self, project: Uuid) -> Result<Watch, BrokerError> {
        self.refused()?;
        let (sender, receiver) = mpsc::channel(16);
        self.feeds.lock().unwrap().push((project, sender));
        self.watching.fetch_add(1, Ordering::SeqCst);
        let watching = Watching(self.watching.clone());
        let seen = ReceiverStream::new(receiver).chain(stream::poll_fn(move |_| {
            let _held = &watching;
            std::task::Poll::Ready(None)
        }));
        Ok(seen.boxed())
    }
}

struct Bench {
    t: TestApp,
    broker: Arc<FakeBroker>,
    ada: Person,
    project: Uuid,
}

impl Bench {
    async fn new(pool: PgPool) -> Self {
        let broker = Arc::new(FakeBroker::default());
        let t = TestApp::with_broker(pool, broker.clone()).await;
        t.run().await;
        let ada = t.person("Ada").await;
        let project = t.project(&ada).await;
        Self {
            t,
            broker,
            ada,
            project,
        }
    }

    fn path(&self, below: &str) -> String {
        format!("/api/v1/projects/{}/mqtt/{below}", self.project)
    }

    async fn watch(&self, person: &Person) -> Stream {
        Stream::open(&self.t, &self.path("topics"), &person.who).await
    }

    async fn publish(&self, person: &Person, body: Value) -> support::Answer {
        self.t.post(&self.path("publish"), &person.who, body).await
    }

    async fn member(&self, name: &str, role: &str) -> Person {
        let person = self.t.person(name).await;
        self.t.add_member(self.project, &person, role).await;
        person
    }
}

/// Up to an event that has the topic, and what it says of it.
async fn topic(stream: &mut Stream, topic: &str, count: u64) -> Value {
    let event = stream.event_that(|name, data| {
        assert_eq!(name, "topics");
        find(data, topic).is_some_and(|it| it["count"] == count)
    });
    find(&event.await, topic).unwrap().clone()
}

fn find<'a>(event: &'a Value, topic: &str) -> Option<&'a Value> {
    event["topics"]
        .as_array()
        .unwrap()
        .iter()
        .find(|it| it["topic"] == topic)
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn a_viewer_sees_topics_as_they_change(pool: PgPool) {
    let bench = Bench::new(pool).await;
    let viewer = bench.member("Viewer", "viewer").await;
    let mut stream = bench.watch(&viewer).await;
    let (name, first) = stream.event().await.unwrap();
    let nothing = json!({"topics": [], "topicCount": 0, "lost": 0});
    assert_eq!((name.as_str(), first), ("topics", nothing));
    bench.broker.say("db/update/job", "{\"a\":1}").await;
    bench.broker.say("db/update/job", "{\"a\":2}").await;
    let mut it = topic(&mut stream, "db/update/job", 2).await;
    let rate = it["rate"].as_f64().unwrap();
    assert!((0.1..=2.0).contains(&rate), "{rate}");
    let at = it["at"].as_str().unwrap();
    assert!(at.ends_with('Z'), "{at}");
    for field in ["rate", "at"] {
        it.as_object_mut().unwrap().remove(field);
    }
    let expected = json!({"topic": "db/update/job", "payload": "{\"a\":2}", "encoding": "utf8", "truncated": false,
        "bytes": 7, "qos": 1, "retain": true, "count": 2});
    assert_eq!(it, expected);
    bench.broker.say("bin", vec![0xff, 0x00]).await;
    let it = topic(&mut stream, "bin", 1).await;
    assert_eq!(
        (&it["payload"], &it["encoding"]),
        (&json!("/wA="), &json!("base64"))
    );
    bench.broker.say("big", vec![b'x'; 1 << 20]).await;
    let it = topic(&mut stream, "big", 1).await;
    assert_eq!(it["payload"].as_str().unwrap().len(), 4 * KIB);
    assert_eq!(
        (&it["truncated"], &it["bytes"]),
        (&json!(true), &json!(1 << 20))
    );
    bench.broker.feed(Seen::Lost(3)).await;
    bench.broker.say(&"x/".repeat(30 * KIB), "").await;
    let event = stream.event_that(|_, data| data["lost"] == 4).await;
    assert_eq!(event["topicCount"], 3);
    // It ends with the broker, and a new one may begin.
    bench.broker.end();
    assert_eq!(stream.event().await, None);
    bench.watch(&viewer).await.event().await.unwrap();
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn a_slow_watcher_of_a_flood_gets_the_newest_and_delays_nobody(pool: PgPool) {
    let bench = Bench::new(pool).await;
    let mut stream = bench.watch(&bench.ada).await;
    stream.event().await.unwrap();
    // Nobody reads: far more than all buffers between hold.
    for n in 0..60_000 {
        let payload = format!("{n}{}", " ".repeat(KIB));
        bench
            .broker
            .say(&format!("flood/{}", n % 6000), payload)
            .await;
    }
    bench.broker.say("flood/7", "the last").await;
    let mut shown = std::collections::HashMap::new();
    let last = stream
        .event_that(|_, data| {
            for it in data["topics"].as_array().unwrap() {
                shown.insert(
                    it["topic"].as_str().unwrap().to_owned(),
                    it["count"].clone(),
                );
            }
            let seven = find(data, "flood/7");
            let is_last = seven.is_some_and(|it| it["payload"] == "the last");
            is_last && shown.len() == 5000
        })
        .await;
    assert_eq!(
        (&last["topicCount"], &last["lost"]),
        (&json!(5000), &json!(10_000))
    );
    assert_eq!(shown["flood/7"], 11);
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn who_may_no_longer_look_sees_no_more(pool: PgPool) {
    let bench = Bench::new(pool).await;
    let (gone, stays) = (
        bench.member("Gone", "viewer").await,
        bench.member("Stays", "viewer").await,
    );
    let (mut his, mut hers) = (bench.watch(&gone).await, bench.watch(&stays).await);
    let (_, _) = (his.event().await.unwrap(), hers.event().await.unwrap());
    let path = format!("/api/v1/projects/{}/members/{}", bench.project, gone.id);
    bench
        .t
        .call("DELETE", &path, &bench.ada.who, Value::Null)
        .await
        .expect(204);
    for (_, feed) in bench.broker.feeds.lock().unwrap().iter() {
        // His is closed perhaps.
        let _ = feed.try_send(Seen::Message(message("secret", "x")));
    }
    while let Some((_, event)) = his.event().await {
        assert_eq!(find(&event, "secret"), None);
    }
    topic(&mut hers, "secret", 1).await;
    // Signing out ends it as well, within a tick.
    let who = stays.who.clone();
    bench
        .t
        .post("/api/v1/auth/logout", &who, Value::Null)
        .await
        .expect(204);
    while hers.event().await.is_some() {}
    eventually("both let go of the broker", async || {
        (bench.broker.watching() == 0).then_some(())
    })
    .await;
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn watchers_are_limited(pool: PgPool) {
    let bench = Bench::new(pool).await;
    let mut streams = Vec::new();
    for _ in 0..8 {
        streams.push(bench.watch(&bench.ada).await);
    }
    let path = bench.path("topics");
    let refused = bench.t.get(&path, &bench.ada.who).await;
    assert_eq!(refused.refusal(), (429, "mqtt.too_many_watchers"));
    assert!(refused.headers.contains_key("retry-after"));
    // Others' projects have places of their own.
    let other = bench.t.project(&bench.ada).await;
    let path = format!("/api/v1/projects/{other}/mqtt/topics");
    streams.push(Stream::open(&bench.t, &path, &bench.ada.who).await);
    // Who leaves gives the place back, and the broker is let go.
    drop(streams);
    eventually("all let go of the broker", async || {
        (bench.broker.watching() == 0).then_some(())
    })
    .await;
    bench.watch(&bench.ada).await.event().await.unwrap();
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn a_member_publishes(pool: PgPool) {
    let bench = Bench::new(pool).await;
    let member = bench.member("Member", "member").await;
    let body = json!({"topic": "db/update/job", "payload": "hello secret"});
    bench.publish(&member, body).await.expect(204);
    let body =
        json!({"topic": "b", "payload": "/wA=", "encoding": "base64", "qos": 2, "retain": true});
    bench.publish(&member, body).await.expect(204);
    let sent = bench.broker.published.lock().unwrap().clone();
    let first = Message {
        topic: "db/update/job".to_owned(),
        payload: "hello secret".into(),
        qos: 0,
        retain: false,
    };
    let second = Message {
        qos: 2,
        ..message("b", vec![0xff, 0])
    };
    assert_eq!(sent, [(bench.project, first), (bench.project, second)]);
    let rows: Vec<(String, String, Value)> = sqlx::query_as(
        "select action, target_id, detail from audit_log where action like 'mqtt.%' order by id",
    )
    .fetch_all(&bench.t.pool)
    .await
    .unwrap();
    assert_eq!(rows.len(), 2);
    let detail = json!({"bytes": 12, "qos": 0, "retain": false});
    assert_eq!(
        rows[0],
        (
            "mqtt.publish".to_owned(),
            "db/update/job".to_owned(),
            detail
        )
    );
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn refusals(pool: PgPool) {
    let bench = Bench::new(pool).await;
    let (viewer, stranger) = (
        bench.member("Viewer", "viewer").await,
        bench.t.person("Stranger").await,
    );
    let fine = json!({"topic": "a", "payload": "b"});
    let with = |name: &str, value: Value| {
        let mut body = fine.clone();
        body[name] = value;
        body
    };
    let large = "x".repeat(256 * KIB + 1);
    for (who, body, status, code) in [
        (&viewer, fine.clone(), 403, "project.role_required"),
        (&stranger, fine.clone(), 404, "project.not_found"),
        (
            &bench.ada,
            with("topic", json!("a/#")),
            422,
            "mqtt.bad_topic",
        ),
        (&bench.ada, with("topic", json!("")), 422, "mqtt.bad_topic"),
        (
            &bench.ada,
            with("topic", json!("$SYS/x")),
            422,
            "mqtt.bad_topic",
        ),
        (&bench.ada, with("qos", json!(3)), 422, "mqtt.bad_qos"),
        (
            &bench.ada,
            with("payload", json!(large)),
            422,
            "mqtt.payload_too_large",
        ),
        (
            &bench.ada,
            json!({"topic": "a", "payload": "=", "encoding": "base64"}),
            422,
            "mqtt.bad_payload",
        ),
        (
            &bench.ada,
            with("encoding", json!("hex")),
            422,
            "request.malformed",
        ),
        (
            &bench.ada,
            with("project", json!("x")),
            422,
            "request.malformed",
        ),
        (&bench.ada, json!({"topic": "a"}), 422, "request.malformed"),
    ] {
        let answer = bench.publish(who, body.clone()).await;
        assert_eq!(answer.refusal(), (status, code), "{body:.80}");
        if let Some(field) = code.strip_prefix("mqtt.bad_") {
            assert!(answer.json["errors"][field].is_array(), "{}", answer.json);
        }
    }
    let answer = bench.t.get(&bench.path("topics"), &stranger.who).await;
    assert_eq!(answer.refusal(), (404, "project.not_found"));
    for (error, status, code) in [
        (
            BrokerError::Unavailable("away".into()),
            503,
            "mqtt.unavailable",
        ),
        (
            BrokerError::Unsupported("set OPENFLOW_X".into()),
            409,
            "mqtt.unsupported",
        ),
        (BrokerError::Refused("no".into()), 409, "mqtt.refused"),
    ] {
        *bench.broker.refuses.lock().unwrap() = Some(error);
        let answer = bench.publish(&bench.ada, fine.clone()).await;
        assert_eq!(answer.refusal(), (status, code));
        let answer = bench.t.get(&bench.path("topics"), &bench.ada.who).await;
        assert_eq!(answer.refusal(), (status, code));
    }
    assert!(bench.broker.published.lock().unwrap().is_empty());
    assert_eq!(
        bench
            .t
            .count("select count(*) from audit_log where action = 'mqtt.publish'")
            .await,
        0
    );
    // A refused watch holds no place.
    *bench.broker.refuses.lock().unwrap() = None;
    for _ in 0..8 {
        tokio::time::timeout(Duration::from_secs(30), bench.watch(&bench.ada))
            .await
            .unwrap();
    }
}
