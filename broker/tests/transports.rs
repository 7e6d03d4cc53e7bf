//! TLS and WebSocket.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a failed step fails the test"
)]
mod support;

use std::{net::SocketAddr, sync::Arc};

use futures_util::{SinkExt as _, StreamExt as _};
use openflow_broker::listen;
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName},
};
use support::{Client, Options, TestBroker, V4, V5, bind};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;
use tokio_tungstenite::{
    client_async,
    tungstenite::{Message, client::IntoClientRequest as _, http::HeaderValue},
};

struct Certificate {
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
}

fn certificate() -> Certificate {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let der = CertificateDer::from(made.cert.der().to_vec());
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let server = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![der.clone()], key)
        .unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(der).unwrap();
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Certificate {
        server: Arc::new(server),
        client: Arc::new(client),
    }
}

async fn secure(
    address: SocketAddr,
    certificate: &Certificate,
) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(certificate.client.clone())
        .connect(name, stream)
        .await
}

#[tokio::test]
async fn tls_and_a_certificate_that_changes() {
    let test = TestBroker::new().await;
    let (one, two) = (certificate(), certificate());
    let current = Arc::new(std::sync::Mutex::new(one.server.clone()));
    let listener = bind().await;
    let address = listener.local_addr().unwrap();
    let source = current.clone();
    let source: listen::TlsSource = Arc::new(move || source.lock().unwrap().clone());
    tokio::spawn(listen::tls(
        listener,
        source,
        test.broker.clone(),
        test.stop.clone(),
    ));
    let stream = secure(address, &one).await.unwrap();
    let (client, _) = Client::over(Box::new(stream), Options::new(V5, "ada", "1")).await;
    let mut first = client.unwrap();
    *current.lock().unwrap() = two.server.clone();
    assert!(
        secure(address, &one).await.is_err(),
        "the old one is not served any more"
    );
    let stream = secure(address, &two).await.unwrap();
    let (client, _) = Client::over(Box::new(stream), Options::new(V4, "ada", "2")).await;
    let mut second = client.unwrap();
    first.subscribe("x", 1).await;
    let large = "x".repeat(300_000);
    second.publish("x", &large, 1, false).await;
    assert_eq!(first.next().await.payload.len(), large.len());
    // Neither plain MQTT nor nothing hurts.
    let mut plain = TcpStream::connect(address).await.unwrap();
    plain
        .write_all(&Options::new(V4, "ada", "3").packet())
        .await
        .unwrap();
    let mut answer = Vec::new();
    plain.read_to_end(&mut answer).await.ok();
    assert_ne!(answer.first(), Some(&0x20));
}

/// Carries a client's bytes in WebSocket frames of a few bytes each.
async fn websocket(
    address: SocketAddr,
    path: &str,
    protocol: &str,
) -> Option<tokio::io::DuplexStream> {
    let stream = TcpStream::connect(address).await.unwrap();
    websocket_over(stream, path, protocol).await
}

async fn websocket_over<S>(stream: S, path: &str, protocol: &str) -> Option<tokio::io::DuplexStream>
where
    S: support::client::Stream + 'static,
{
    let mut request = format!("ws://localhost{path}")
        .into_client_request()
        .unwrap();
    if !protocol.is_empty() {
        let value = HeaderValue::from_str(protocol).unwrap();
        request
            .headers_mut()
            .insert("Sec-WebSocket-Protocol", value);
    }
    let (mut frames, response) = client_async(request, stream).await.ok()?;
    assert_eq!(response.headers()["Sec-WebSocket-Protocol"], "mqtt");
    let (ours, theirs) = tokio::io::duplex(1 << 20);
    let (mut read, mut write) = tokio::io::split(ours);
    tokio::spawn(async move {
        let mut bytes = [0; 7];
        loop {
            tokio::select! {
                count = read.read(&mut bytes) => match count {
                    Ok(count) if count > 0 => {
                        let frame = Message::binary(bytes[..count].to_vec());
                        frames.send(Message::Ping("x".into())).await.unwrap();
                        frames.send(frame).await.unwrap();
                    }
                    _ => break,
                },
                frame = frames.next() => match frame {
                    Some(Ok(Message::Binary(bytes))) => write.write_all(&bytes).await.unwrap(),
                    Some(Ok(_)) => {}
                    _ => break,
                },
            }
        }
    });
    Some(theirs)
}

#[tokio::test]
async fn websocket_carries_mqtt_however_it_is_framed() {
    let test = TestBroker::new().await;
    let listener = bind().await;
    let address = listener.local_addr().unwrap();
    tokio::spawn(listen::websocket(
        listener,
        test.broker.clone(),
        test.stop.clone(),
    ));
    let stream = websocket(address, "/mqtt", "other, mqtt").await.unwrap();
    let (client, _) = Client::over(Box::new(stream), Options::new(V5, "ada", "ws")).await;
    let mut client = client.unwrap();
    client.subscribe("#", 2).await;
    let mut sender = test.client(V4, "ann", "tcp").await;
    let large = "x".repeat(300_000);
    for qos in 0..3 {
        sender.publish("x", &large, qos, false).await;
        assert_eq!(client.next().await.payload.len(), large.len());
        client.publish("x", "back", qos, false).await;
        assert_eq!(client.next().await.text(), "x back");
    }
    client.disconnect().await;
    for (path, protocol) in [
        ("/", "mqtt"),
        ("/mqtt/x", "mqtt"),
        ("/mqtt", "other"),
        ("/mqtt", ""),
    ] {
        assert!(
            websocket(address, path, protocol).await.is_none(),
            "{path} {protocol}"
        );
    }
}

#[tokio::test]
async fn websocket_in_tls() {
    let test = TestBroker::new().await;
    let certificate = certificate();
    let listener = bind().await;
    let address = listener.local_addr().unwrap();
    let config = certificate.server.clone();
    let source: listen::TlsSource = Arc::new(move || config.clone());
    let (broker, stop) = (test.broker.clone(), test.stop.clone());
    tokio::spawn(listen::secure_websocket(listener, source, broker, stop));
    let stream = secure(address, &certificate).await.unwrap();
    let stream = websocket_over(stream, "/mqtt", "mqtt").await.unwrap();
    let (client, _) = Client::over(Box::new(stream), Options::new(V4, "ada", "wss")).await;
    let mut client = client.unwrap();
    client.subscribe("x", 1).await;
    client.publish("x", "hello", 1, false).await;
    assert_eq!(client.next().await.text(), "x hello");
}
