//! TLS: which certificate, changed files, the local CA, redirects.
#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

mod support;

use std::{net::SocketAddr, path::Path, sync::Arc};

use http::StatusCode;
use http_body_util::Full;
use hyper_util::rt::TokioIo;
use rcgen::{CertificateParams, DnType, KeyPair};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use support::{HOST, Reply, TestProxy, Upstream, eventually, loopback, request, route, table};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

/// A self-signed certificate of these names; its PEM.
fn write_pair(folder: &Path, file: &str, names: &[&str]) -> String {
    let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.distinguished_name.push(DnType::CommonName, file);
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap().pem();
    std::fs::write(folder.join(format!("{file}.key")), key.serialize_pem()).unwrap();
    std::fs::write(folder.join(format!("{file}.crt")), &certificate).unwrap();
    certificate
}

fn roots(pem: &str) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(pem.as_bytes()).unwrap())
        .unwrap();
    roots
}

/// Connects trusting only `pem`, for `host`.
async fn connect(
    address: SocketAddr,
    host: &str,
    pem: &str,
    alpn: &[&str],
) -> std::io::Result<TlsStream<TcpStream>> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots(pem))
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|&protocol| protocol.into()).collect();
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from(host.to_owned()).unwrap();
    TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
}

async fn get(address: SocketAddr, host: &str, pem: &str, path: &str) -> Reply {
    let stream = connect(address, host, pem, &["http/1.1"]).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    let sent = request("GET", host, path)
        .body(Full::<bytes::Bytes>::default())
        .unwrap();
    support::reply(sender.send_request(sent).await.unwrap()).await
}

async fn proxy_with(folder: &Path, upstream: &Upstream) -> TestProxy {
    TestProxy::fixed_with(table(vec![route(upstream.address)]), |config| {
        config.listen_tls = Some(loopback());
        config.tls.dir = Some(folder.to_owned());
    })
    .await
}

#[tokio::test]
async fn certificates_are_chosen_by_the_names_in_them() {
    let folder = tempfile::tempdir().unwrap();
    let wildcard = write_pair(folder.path(), "a", &["example.com", "*.example.com"]);
    let shop = write_pair(folder.path(), "b", &["shop.example.com"]);
    let upstream = Upstream::echo().await;
    let proxy = proxy_with(folder.path(), &upstream).await;
    let tls = proxy.tls.unwrap();
    assert_eq!(get(tls, HOST, &wildcard, "/api/x").await.text(), "/api/x");
    let seen = upstream.last();
    assert_eq!(seen.header("x-forwarded-proto"), Some("https"));
    assert_eq!(
        get(tls, "shop.example.com", &shop, "/api/x").await.status,
        StatusCode::OK
    );
    assert!(
        connect(tls, "shop.example.com", &wildcard, &[])
            .await
            .is_err(),
        "the exact name goes first"
    );
}

#[tokio::test]
async fn changed_certificates_are_taken_and_broken_ones_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let old = write_pair(folder.path(), "a", &[HOST]);
    let upstream = Upstream::echo().await;
    let proxy = proxy_with(folder.path(), &upstream).await;
    let tls = proxy.tls.unwrap();
    assert!(connect(tls, HOST, &old, &[]).await.is_ok());
    let new = write_pair(folder.path(), "a", &[HOST]);
    std::fs::write(folder.path().join("z.crt"), "half written").unwrap();
    eventually(async || connect(tls, HOST, &new, &[]).await.is_ok()).await;
    std::fs::write(folder.path().join("a.key"), "broken").unwrap();
    let second = write_pair(folder.path(), "b", &["shop.example.com"]);
    eventually(async || connect(tls, "shop.example.com", &second, &[]).await.is_ok()).await;
}

#[tokio::test]
async fn http2_is_spoken_where_the_client_can() {
    let folder = tempfile::tempdir().unwrap();
    let pem = write_pair(folder.path(), "a", &[HOST]);
    let upstream = Upstream::echo().await;
    let proxy = proxy_with(folder.path(), &upstream).await;
    let stream = connect(proxy.tls.unwrap(), HOST, &pem, &["h2", "http/1.1"])
        .await
        .unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
}

#[tokio::test]
async fn the_local_ca_is_made_once_and_its_key_is_private() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let upstream = Upstream::echo().await;
    let start = async || {
        TestProxy::fixed_with(table(vec![route(upstream.address)]), |config| {
            config.listen_tls = Some(loopback());
            config.tls.self_signed = Some(folder.path().join("tls"));
            config.tls.domain = "example.com".to_owned();
        })
        .await
    };
    let proxy = start().await;
    let ca = std::fs::read_to_string(folder.path().join("tls/ca.crt")).unwrap();
    assert_eq!(
        get(proxy.tls.unwrap(), HOST, &ca, "/api/x").await.status,
        StatusCode::OK
    );
    for key in ["tls/ca.key", "tls/certs/example.com.key"] {
        let mode = std::fs::metadata(folder.path().join(key))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{key}");
    }
    drop(proxy);
    let proxy = start().await;
    assert_eq!(
        std::fs::read_to_string(folder.path().join("tls/ca.crt")).unwrap(),
        ca
    );
    assert_eq!(
        get(proxy.tls.unwrap(), HOST, &ca, "/api/x").await.status,
        StatusCode::OK
    );
}

#[tokio::test]
async fn plain_requests_are_sent_to_https_when_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    write_pair(folder.path(), "a", &[HOST]);
    let upstream = Upstream::echo().await;
    let proxy = TestProxy::fixed_with(table(vec![route(upstream.address)]), |config| {
        config.listen_tls = Some(loopback());
        config.tls.dir = Some(folder.path().to_owned());
        config.redirect_https = true;
    })
    .await;
    let reply = proxy.get("wf1.example.com:8080", "/a?b=c").await;
    assert_eq!(reply.status, StatusCode::PERMANENT_REDIRECT);
    let port = proxy.tls.unwrap().port();
    assert_eq!(
        reply.header("location"),
        Some(format!("https://{HOST}:{port}/a?b=c").as_str())
    );
    assert_eq!(upstream.seen().len(), 0);
}

#[tokio::test]
async fn tls_without_certificates_is_told_at_start() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = support::config();
    config.listen_tls = Some(loopback());
    let error = openflow_proxy::Proxy::bind(config.clone())
        .await
        .err()
        .unwrap();
    assert!(error.to_string().contains("--tls-dir"), "{error}");
    config.tls.dir = Some(folder.path().to_owned());
    let error = openflow_proxy::Proxy::bind(config).await.err().unwrap();
    assert!(
        error.to_string().contains("no usable certificate"),
        "{error}"
    );
}
