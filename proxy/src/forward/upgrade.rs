//! WebSocket and other upgrades: once the instance has said `101`, bytes are
//! copied both ways until either side or the right to be there ends.
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Version, header, request};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use socket2::{SockRef, TcpKeepalive};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, copy, split},
    net::TcpStream,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use super::headers::has_token;
use crate::routes::Guard;

/// How long one direction may go on after the other has ended.
const HALF_CLOSED_MAX: Duration = Duration::from_secs(30);
const KEEPALIVE: Duration = Duration::from_secs(60);

/// The protocol that an HTTP/1.1 request asks to be upgraded to. `h2c` is
/// ignored, as RFC 9110 §7.8 allows, and so is an upgrade that carries a body.
pub(super) fn requested_protocol(parts: &request::Parts, has_body: bool) -> Option<HeaderValue> {
    let asks = |headers: &HeaderMap| {
        let mut connections = headers.get_all(header::CONNECTION).iter();
        connections.any(|value| has_token(value, "upgrade"))
    };
    if parts.version != Version::HTTP_11
        || parts.method != Method::GET
        || has_body
        || !asks(&parts.headers)
    {
        return None;
    }
    let mut protocols = parts.headers.get_all(header::UPGRADE).iter();
    let protocol = protocols.next()?;
    let known = !has_token(protocol, "h2c") && protocols.next().is_none();
    known.then(|| protocol.clone())
}

/// Copies between the client and the instance until one of them, `guard` or
/// `stopping` ends it. `early` was read from the instance past its `101`.
pub(super) async fn tunnel(
    client: OnUpgrade,
    mut instance: TcpStream,
    early: Bytes,
    guard: Option<Guard>,
    stopping: CancellationToken,
) {
    let Ok(client) = client.await else { return };
    let mut client = TokioIo::new(client);
    keep_alive(&instance);
    if client.write_all(&early).await.is_err() || client.flush().await.is_err() {
        return;
    }
    let lost = async {
        match guard {
            Some(guard) => guard.lost().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = copy_both(&mut client, &mut instance) => {}
        () = lost => {}
        () = stopping.cancelled() => {}
    }
}

async fn copy_both(client: &mut (impl AsyncRead + AsyncWrite + Unpin), instance: &mut TcpStream) {
    let (mut client_read, mut client_write) = split(client);
    let (mut instance_read, mut instance_write) = instance.split();
    let upward = async {
        let copied = copy(&mut client_read, &mut instance_write).await;
        copied.is_ok() && instance_write.shutdown().await.is_ok()
    };
    let downward = async {
        let copied = copy(&mut instance_read, &mut client_write).await;
        copied.is_ok() && client_write.shutdown().await.is_ok()
    };
    tokio::pin!(upward, downward);
    tokio::select! {
        clean = &mut upward => if clean {
            timeout(HALF_CLOSED_MAX, &mut downward).await.ok();
        },
        clean = &mut downward => if clean {
            timeout(HALF_CLOSED_MAX, &mut upward).await.ok();
        },
    }
}

/// Finds out about peers that vanished: nothing else ends a silent tunnel.
pub(crate) fn keep_alive(stream: &TcpStream) {
    let settings = TcpKeepalive::new()
        .with_time(KEEPALIVE)
        .with_interval(KEEPALIVE / 4);
    if let Err(error) = SockRef::from(stream).set_tcp_keepalive(&settings) {
        tracing::debug!(%error, "TCP keep-alive could not be set");
    }
}
