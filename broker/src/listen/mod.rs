//! Accept loops for the caller's listeners.
mod gatekeeper;
mod websocket;

use std::{future::Future, io, net::SocketAddr, sync::Arc, time::Duration};

use rustls::ServerConfig;
use socket2::{SockRef, TcpKeepalive};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    time::{sleep, timeout},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_util::sync::CancellationToken;

pub(crate) use gatekeeper::{Gatekeeper, Pending};

use crate::broker::Broker;

/// After running out of file descriptors, for some to come free.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Finds clients that went away without a word, besides the protocol's own keep-alive.
const KEEP_ALIVE: Duration = Duration::from_secs(60);

/// Asked for each connection, so that certificates can change while the listener goes on. The configuration names its
/// cryptography provider itself (`ServerConfig::builder_with_provider`): two are linked in.
pub type TlsSource = Arc<dyn Fn() -> Arc<ServerConfig> + Send + Sync>;

#[derive(Clone)]
enum Transport {
    Tcp,
    Tls(TlsSource),
    WebSocket,
    SecureWebSocket(TlsSource),
}

/// Serves MQTT over TCP until told to stop. Connections go on until they end or the broker is shut down.
pub async fn tcp(listener: TcpListener, broker: Broker, stop: CancellationToken) {
    run(listener, Transport::Tcp, broker, stop).await;
}

/// Likewise over TLS.
pub async fn tls(listener: TcpListener, tls: TlsSource, broker: Broker, stop: CancellationToken) {
    run(listener, Transport::Tls(tls), broker, stop).await;
}

/// Likewise over WebSocket, at the path `/mqtt` with the subprotocol `mqtt`.
pub async fn websocket(listener: TcpListener, broker: Broker, stop: CancellationToken) {
    run(listener, Transport::WebSocket, broker, stop).await;
}

/// Likewise over WebSocket in TLS.
pub async fn secure_websocket(
    listener: TcpListener,
    tls: TlsSource,
    broker: Broker,
    stop: CancellationToken,
) {
    run(listener, Transport::SecureWebSocket(tls), broker, stop).await;
}

async fn run(listener: TcpListener, transport: Transport, broker: Broker, stop: CancellationToken) {
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &broker) => accepted,
            () = stop.cancelled() => return,
            () = broker.0.stopping.cancelled() => return,
        };
        match accepted {
            Ok((stream, peer, Some(pending))) => {
                let (broker, transport) = (broker.clone(), transport.clone());
                tokio::spawn(async move {
                    if let Err(error) = serve(stream, peer, transport, &broker, pending).await {
                        tracing::debug!(%error, %peer, "a handshake failed");
                    }
                });
            }
            Ok((_, peer, None)) => {
                tracing::debug!(%peer, "too many connections of one address that say nothing");
            }
            Err(error) if is_of_the_peer(&error) => {}
            Err(error) => {
                tracing::error!(%error, "cannot accept connections; raise the limit of open files");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Waits for room first: what cannot be served yet stays in the system's backlog.
async fn accept(
    listener: &TcpListener,
    broker: &Broker,
) -> io::Result<(TcpStream, SocketAddr, Option<Pending>)> {
    let room = broker.0.gatekeeper.room().await;
    let (stream, peer) = listener.accept().await?;
    let pending = broker.0.gatekeeper.admit(peer.ip(), room);
    Ok((stream, peer, pending))
}

fn is_of_the_peer(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
    )
}

async fn serve(
    stream: TcpStream,
    peer: SocketAddr,
    transport: Transport,
    broker: &Broker,
    pending: Pending,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    SockRef::from(&stream).set_tcp_keepalive(
        &TcpKeepalive::new()
            .with_time(KEEP_ALIVE)
            .with_interval(KEEP_ALIVE / 4),
    )?;
    match transport {
        Transport::Tcp => broker.serve_pending(stream, peer, pending).await,
        Transport::Tls(tls) => {
            let stream = secure(stream, &tls, broker).await?;
            broker.serve_pending(stream, peer, pending).await;
        }
        Transport::WebSocket => {
            let stream = upgrade(stream, broker).await?;
            broker.serve_pending(stream, peer, pending).await;
        }
        Transport::SecureWebSocket(tls) => {
            let stream = secure(stream, &tls, broker).await?;
            let stream = upgrade(stream, broker).await?;
            broker.serve_pending(stream, peer, pending).await;
        }
    }
    Ok(())
}

async fn secure(
    stream: TcpStream,
    tls: &TlsSource,
    broker: &Broker,
) -> io::Result<TlsStream<TcpStream>> {
    within(broker, TlsAcceptor::from(tls()).accept(stream)).await
}

async fn upgrade<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    broker: &Broker,
) -> io::Result<websocket::Bytestream<S>> {
    let packet_bytes = broker.0.settings.limits.packet_bytes;
    within(broker, websocket::accept(stream, packet_bytes)).await
}

async fn within<T>(
    broker: &Broker,
    handshake: impl Future<Output = io::Result<T>>,
) -> io::Result<T> {
    timeout(broker.0.settings.limits.connect_timeout, handshake)
        .await
        .map_err(|_| io::ErrorKind::TimedOut)?
}
