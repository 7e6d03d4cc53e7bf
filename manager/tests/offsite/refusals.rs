//! What the words say when the store says no.
use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use crate::support::*;

/// A server that answers every request with this.
async fn store_that_says(status: &str, body: &str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let answer = format!(
        "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let answer = answer.clone();
            tokio::spawn(async move {
                let mut head = vec![0; 64 << 10];
                let _ = stream.read(&mut head).await;
                let _ = stream.write_all(answer.as_bytes()).await;
                let _ = stream.shutdown().await;
                let _ = stream.read_to_end(&mut head).await;
            });
        }
    });
    address
}

fn xml(code: &str, more: &str) -> String {
    format!(
        "<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>Words.</Message>{more}</Error>"
    )
}

#[tokio::test]
async fn a_refusal_says_which_setting_to_look_at() {
    let region = "<Region>eu-central-1</Region>";
    for (status, body, words) in [
        (
            "403 Forbidden",
            xml("InvalidAccessKeyId", ""),
            "OPENFLOW_OFFSITE_ACCESS_KEY",
        ),
        (
            "403 Forbidden",
            xml("SignatureDoesNotMatch", ""),
            "OPENFLOW_OFFSITE_SECRET_KEY",
        ),
        ("403 Forbidden", xml("AccessDenied", ""), "allowed to"),
        ("403 Forbidden", xml("RequestTimeTooSkewed", ""), "clock"),
        (
            "404 Not Found",
            xml("NoSuchBucket", ""),
            "OPENFLOW_OFFSITE_URL",
        ),
        (
            "400 Bad Request",
            xml("AuthorizationHeaderMalformed", region),
            "OPENFLOW_OFFSITE_REGION to eu-central-1",
        ),
        (
            "301 Moved Permanently",
            String::new(),
            "OPENFLOW_OFFSITE_REGION",
        ),
        (
            "503 Service Unavailable",
            xml("SlowDown", ""),
            "tried again",
        ),
        ("500 Internal Server Error", "<html>".into(), "tried again"),
        (
            "400 Bad Request",
            xml("EntityTooLarge", ""),
            "EntityTooLarge Words.",
        ),
        ("403 Forbidden", "no xml".into(), "allowed to"),
    ] {
        let address = store_that_says(status, &body).await;
        let offsite = offsite(address, "--offsite-url=s3://some-bucket", &[]);
        let refusal = offsite.check().await.unwrap_err().to_string();
        assert!(refusal.contains(words), "{status} {body}: {refusal}");
        assert!(refusal.chars().count() < 500, "{refusal}");
    }
}

#[tokio::test]
async fn a_store_that_is_away_or_without_the_bucket_is_told_apart() {
    let nobody = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap()
    };
    let url = "--offsite-url=s3://some-bucket";
    let refusal = offsite(nobody, url, &[])
        .check()
        .await
        .unwrap_err()
        .to_string();
    assert!(refusal.contains("OPENFLOW_OFFSITE_ENDPOINT"), "{refusal}");
    let missing = offsite(server(), "--offsite-url=s3://no-such-bucket-here", &[]);
    let refusal = missing.check().await.unwrap_err().to_string();
    assert!(refusal.contains("no such bucket"), "{refusal}");
    let listed = missing.list("").await.unwrap_err().to_string();
    assert!(listed.contains("no such bucket"), "{listed}");
}
