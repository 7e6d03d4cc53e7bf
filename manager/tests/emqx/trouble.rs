//! A management API that does not do as documented.
use std::{sync::Arc, time::Duration};

use openflow_manager::{
    kernel::{Secret, SystemClock},
    mqtt::{Broker, BrokerError, Emqx, EmqxSettings},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    time::timeout,
};
use uuid::Uuid;

use crate::{
    driver::emqx,
    fake::{FakeEmqx, answering, url_of},
};

/// Far more than the driver's own limits.
const PATIENCE: Duration = Duration::from_secs(60);

async fn error_of(broker: &Emqx) -> BrokerError {
    let answer = timeout(PATIENCE, broker.connections(Uuid::nil()));
    answer.await.unwrap().unwrap_err()
}

fn http(status: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}")
}

#[tokio::test]
async fn bad_answers_are_errors_that_say_why() {
    let cut = "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"data\":".to_owned();
    let huge = http("200 OK", &" ".repeat(9 << 20));
    for (answer, words) in [
        (http("200 OK", "<html>"), "garbage"),
        (http("200 OK", "{}"), "garbage"),
        (
            http(
                "200 OK",
                "{\"data\": [{\"username\": \"u\"}], \"meta\": {}}",
            ),
            "garbage",
        ),
        (
            http(
                "500 Oops",
                "{\"code\": \"UNKNOWN_ERROR\", \"message\": \"badrpc\"}",
            ),
            "500 badrpc",
        ),
        (http("503 Away", ""), "503"),
        ("no HTTP\r\n\r\n".to_owned(), ""),
        (String::new(), ""),
        (cut, ""),
        (huge, ""),
    ] {
        let url = answering(answer.clone()).await;
        let error = error_of(&emqx("mqtt://127.0.0.1:1", Some(&url))).await;
        assert!(
            matches!(error, BrokerError::Unavailable(_)),
            "{answer:.60}: {error}"
        );
        assert!(error.to_string().contains(words), "{answer:.60}: {error}");
    }
    let url = answering(http(
        "400 Bad",
        "{\"code\": \"BAD_REQUEST\", \"message\": \"no\"}",
    ))
    .await;
    let error = error_of(&emqx("mqtt://127.0.0.1:1", Some(&url))).await;
    assert!(matches!(error, BrokerError::Refused(_)), "{error}");
}

#[tokio::test]
async fn a_wrong_key_is_told() {
    let url = FakeEmqx::default().start().await;
    let settings = EmqxSettings {
        mqtt_url: "mqtt://127.0.0.1:1".parse().unwrap(),
        api: Some((url, Secret::new("openflow:hunter2"))),
        hook_secret: Secret::new("hook-secret-hook-secret"),
    };
    let error = error_of(&Emqx::new(settings, Arc::new(SystemClock)).unwrap()).await;
    let BrokerError::Unsupported(why) = &error else {
        panic!("{error}")
    };
    assert!(
        why.contains("OPENFLOW_EMQX_API_KEY") && !why.contains("hunter2"),
        "{why}"
    );
}

#[tokio::test]
async fn an_api_that_is_silent_or_away_is_given_up() {
    // Takes connections and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let broker = emqx(
        "mqtt://127.0.0.1:1",
        Some(&url_of(silent.local_addr().unwrap())),
    );
    let error = error_of(&broker).await;
    assert!(matches!(error, BrokerError::Unavailable(_)), "{error}");
    drop(silent);
    let error = error_of(&broker).await;
    assert!(matches!(error, BrokerError::Unavailable(_)), "{error}");
}

/// What EMQX does to a connection that was idle for a while.
#[tokio::test]
async fn a_connection_that_was_closed_meanwhile_is_made_anew() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = url_of(listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let body = r#"{"data": [], "meta": {"hasnext": false}}"#;
            let answer = format!(
                "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            );
            let mut buffer = [0; 8 << 10];
            let _ = stream.read(&mut buffer).await;
            let _ = stream.write_all(answer.as_bytes()).await;
            // One request for each connection, without having said so.
        }
    });
    let broker = emqx("mqtt://127.0.0.1:1", Some(&url));
    let names = ["u1".to_owned()];
    for _ in 0..20 {
        let kicked = timeout(PATIENCE, broker.kick(&names));
        assert_eq!(kicked.await.unwrap(), Ok(0));
    }
}
