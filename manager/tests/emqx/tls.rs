//! The management API over https, by the authorities that the host trusts. As
//! the program: which these are is read from its environment.
use std::{net::SocketAddr, path::Path, process::Command, sync::Arc};

use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
    service::TowerToHyperService,
};
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::{
    doctor::{doctor, well_set_up},
    fake::{FakeEmqx, KEY},
};

/// A certificate for 127.0.0.1 that is its own authority.
fn make_certificate(dir: &Path) {
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "2",
        ])
        .args([
            "-subj",
            "/CN=emqx",
            "-addext",
            "subjectAltName=IP:127.0.0.1",
        ])
        .args([
            "-addext",
            "basicConstraints=critical,CA:FALSE",
            "-keyout",
            "key.pem",
            "-out",
            "crt.pem",
        ])
        .current_dir(dir)
        .output()
        .unwrap();
    assert!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );
}

async fn serve(fake: &FakeEmqx, dir: &Path) -> SocketAddr {
    let certificate = CertificateDer::from_pem_file(dir.join("crt.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(dir.join("key.pem")).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let service = TowerToHyperService::new(fake.router());
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (acceptor, service) = (acceptor.clone(), service.clone());
            tokio::spawn(async move {
                // Who does not trust us goes away.
                let Ok(stream) = acceptor.accept(stream).await else {
                    return;
                };
                let server = auto::Builder::new(TokioExecutor::new());
                let _ = server.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    address
}

#[tokio::test]
async fn the_api_is_asked_over_https_by_whom_the_host_trusts() {
    let dir = tempfile::tempdir().unwrap();
    make_certificate(dir.path());
    let fake = FakeEmqx::default();
    well_set_up(&fake);
    let address = serve(&fake, dir.path()).await;
    let (url, mqtt) = (format!("https://{address}"), format!("mqtt://{address}"));
    let trusted = dir.path().join("crt.pem");
    let empty = dir.path().join("none.pem");
    std::fs::write(&empty, "").unwrap();
    for (authorities, expected) in [
        (Some(&trusted), "ok"),
        (None, "fail"),
        (Some(&empty), "fail"),
    ] {
        let mut variables = vec![
            ("OPENFLOW_EMQX_URL", url.as_str()),
            ("OPENFLOW_EMQX_API_KEY", KEY),
            ("OPENFLOW_MQTT_URL", mqtt.as_str()),
        ];
        if let Some(path) = authorities {
            variables.push(("SSL_CERT_FILE", path.to_str().unwrap()));
        }
        let findings = doctor(&variables).await;
        let about = findings.iter().filter(|it| it["check"] == "emqx");
        let verdicts: Vec<_> = about.map(|it| it["verdict"].as_str().unwrap()).collect();
        assert!(
            verdicts.contains(&expected),
            "{authorities:?}: {findings:#?}"
        );
        assert!(
            expected == "fail" || verdicts.iter().all(|it| *it == "ok"),
            "{findings:#?}"
        );
    }
}
