//! Watching a project's messages, on a real MQTT broker.
use std::{
    io::Write as _,
    net::TcpListener,
    process::{Child, Command, Stdio},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use mqtt5_protocol::{
    FixedHeader, Packet,
    packet::{MqttPacket as _, connack::ConnAckPacket},
    types::ReasonCode,
};
use openflow_manager::{
    kernel::{Clock as _, Secret, SystemClock},
    mqtt::{Broker, BrokerError, Message, Seen, Watch, console_may_connect, console_project},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::timeout,
};
use uuid::Uuid;

use crate::driver::emqx;

const PROJECT: Uuid = Uuid::from_u128(0xa);
const PATIENCE: Duration = Duration::from_secs(60);

/// It mounts nothing: what EMQX takes off a topic is its own affair.
struct Mosquitto {
    child: Child,
    _dir: tempfile::TempDir,
    port: u16,
}

impl Mosquitto {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let port = free_port();
        // Nothing of its own may be lost before us.
        let config = format!(
            "listener {port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\nmax_queued_bytes 0\n"
        );
        let file = dir.path().join("mosquitto.conf");
        std::fs::write(&file, config).unwrap();
        // Debian puts it where only root looks.
        let path = format!(
            "{}:/usr/sbin:/usr/local/sbin",
            std::env::var("PATH").unwrap_or_default()
        );
        let child = Command::new("mosquitto")
            .arg("-c")
            .arg(&file)
            .env("PATH", path)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let child = child
            .unwrap_or_else(|error| panic!("mosquitto ({error}): run scripts/install.sh --test"));
        let it = Self {
            child,
            _dir: dir,
            port,
        };
        it.wait();
        it
    }

    fn wait(&self) {
        let began = std::time::Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(began.elapsed() < PATIENCE, "mosquitto does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Each line a message of its own.
    fn publish(&self, topic: &str, retain: bool, lines: &str) {
        let mut publisher = Command::new("mosquitto_pub");
        publisher.args([
            "-h",
            "127.0.0.1",
            "-V",
            "5",
            "-q",
            "1",
            "-l",
            "-t",
            topic,
            "-p",
        ]);
        publisher.arg(self.port.to_string());
        if retain {
            publisher.arg("-r");
        }
        let mut publisher = publisher.stdin(Stdio::piped()).spawn().unwrap();
        publisher
            .stdin
            .take()
            .unwrap()
            .write_all(lines.as_bytes())
            .unwrap();
        assert!(publisher.wait().unwrap().success());
    }

    async fn watch(&self) -> Watch {
        let broker = emqx(&format!("mqtt://127.0.0.1:{}", self.port), None);
        broker.watch(PROJECT).await.unwrap()
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

async fn next(watch: &mut Watch) -> Option<Seen> {
    timeout(PATIENCE, watch.next()).await.unwrap()
}

async fn message(watch: &mut Watch) -> Message {
    match next(watch).await {
        Some(Seen::Message(it)) => it,
        other => panic!("{other:?}"),
    }
}

fn seen(topic: &str, payload: &'static str, retain: bool) -> Message {
    Message {
        topic: topic.to_owned(),
        payload: Bytes::from_static(payload.as_bytes()),
        qos: 0,
        retain,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watcher_sees_the_retained_messages_and_then_all() {
    let mosquitto = Mosquitto::start();
    mosquitto.publish("kept/a", true, "old");
    let mut watch = mosquitto.watch().await;
    assert_eq!(message(&mut watch).await, seen("kept/a", "old", true));
    mosquitto.publish("db/update/job", false, "1\n2\n");
    assert_eq!(message(&mut watch).await, seen("db/update/job", "1", false));
    assert_eq!(message(&mut watch).await, seen("db/update/job", "2", false));
    // Published with retain while somebody watches.
    mosquitto.publish("kept/b", true, "new");
    assert_eq!(message(&mut watch).await, seen("kept/b", "new", true));
    // Another watcher gets them all anew.
    let mut other = mosquitto.watch().await;
    let mut both = [
        message(&mut other).await.topic,
        message(&mut other).await.topic,
    ];
    both.sort();
    assert_eq!(both, ["kept/a", "kept/b"]);
    drop(mosquitto);
    assert_eq!(next(&mut watch).await, None);
    assert_eq!(next(&mut other).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_that_nobody_reads_is_bounded_and_counted() {
    const MESSAGES: u64 = 20_000;
    let mosquitto = Mosquitto::start();
    let mut watch = mosquitto.watch().await;
    let lines: String = (0..MESSAGES).map(|n| format!("{n}\n")).collect();
    mosquitto.publish("flood", false, &lines);
    let (mut shown, mut lost) = (0, 0);
    while shown + lost < MESSAGES {
        match next(&mut watch).await.unwrap() {
            Seen::Message(_) => shown += 1,
            Seen::Lost(n) => lost += n,
        }
    }
    assert_eq!(shown + lost, MESSAGES);
    assert!(0 < lost && 1000 < shown, "{shown} shown, {lost} lost");
    // It goes on after that.
    mosquitto.publish("flood", false, "after");
    assert_eq!(message(&mut watch).await, seen("flood", "after", false));
}

/// The one packet that a client sends first.
async fn connect_packet(stream: &mut tokio::net::TcpStream) -> Packet {
    let mut bytes = BytesMut::new();
    loop {
        assert!(0 < stream.read_buf(&mut bytes).await.unwrap());
        let mut body = bytes.clone();
        let Ok(header) = FixedHeader::decode(&mut body) else {
            continue;
        };
        if header.remaining_length as usize <= body.len() {
            return Packet::decode_from_body(header.packet_type, &header, &mut body).unwrap();
        }
    }
}

#[tokio::test]
async fn its_login_is_one_that_the_hook_can_check() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("mqtt://{}", listener.local_addr().unwrap());
    let broker = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let Packet::Connect(connect) = connect_packet(&mut stream).await else {
            panic!("no CONNECT")
        };
        let username = connect.username.unwrap();
        let password = String::from_utf8(connect.password.unwrap()).unwrap();
        assert_eq!(console_project(&username), Some(PROJECT));
        let may = |secret: &str, project| {
            console_may_connect(&Secret::new(secret), project, &password, SystemClock.now())
        };
        assert!(may("hook-secret-hook-secret", PROJECT));
        assert!(!may("hook-secret-hook-secret", Uuid::from_u128(0xb)));
        assert!(!may("another-hook-secret", PROJECT));
        assert!(connect.clean_start && connect.client_id.len() > 20);
        let mut answer = BytesMut::new();
        let ack = ConnAckPacket::new(false, ReasonCode::NotAuthorized);
        ack.encode(&mut answer).unwrap();
        stream.write_all(&answer).await.unwrap();
    });
    let refused = timeout(PATIENCE, emqx(&url, None).watch(PROJECT))
        .await
        .unwrap();
    broker.await.unwrap();
    let Err(BrokerError::Unavailable(why)) = refused else {
        panic!("it was let in")
    };
    assert!(
        why.contains("NotAuthorized") && why.contains("openflow doctor"),
        "{why}"
    );
}

#[tokio::test]
async fn what_cannot_be_watched_is_said() {
    let error = |url: String| async move {
        match timeout(PATIENCE, emqx(&url, None).watch(PROJECT))
            .await
            .unwrap()
        {
            Ok(_) => panic!("{url} can be watched"),
            Err(error) => error,
        }
    };
    let websocket = error("ws://127.0.0.1:1/mqtt".to_owned()).await;
    assert!(
        matches!(&websocket, BrokerError::Unsupported(why) if why.contains("OPENFLOW_MQTT_URL"))
    );
    let away = error(format!("mqtt://127.0.0.1:{}", free_port())).await;
    assert!(matches!(away, BrokerError::Unavailable(_)), "{away}");
    let web = crate::fake::answering("HTTP/1.1 400 Bad Request\r\n\r\n").await;
    let web = error(format!("mqtt://127.0.0.1:{}", web.port().unwrap())).await;
    assert!(matches!(web, BrokerError::Unavailable(_)), "{web}");
}
