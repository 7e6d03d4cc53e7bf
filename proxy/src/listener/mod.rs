//! Accepts connections and speaks HTTP/1.1 or HTTP/2 on them, until told to stop.
mod ca;
mod connection;
mod io;
mod tls;

use std::{
    io::ErrorKind,
    net::{SocketAddr, TcpListener as StdListener},
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::task::TaskTracker;

pub use tls::Tls;

use crate::{
    context::{Client, Shared},
    metrics::Metrics,
};

const BACKLOG: i32 = 1024;
/// After running out of file descriptors, for some to come free.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Sockets of one address, one per worker thread; the kernel shares connections
/// out among them.
pub(crate) struct Listeners {
    pub(crate) address: SocketAddr,
    pub(crate) sockets: Vec<StdListener>,
}

impl Listeners {
    /// # Errors
    /// When the address is taken or not ours.
    pub(crate) fn bind(address: SocketAddr, count: usize) -> anyhow::Result<Self> {
        let context = || match address.port() {
            0 => format!("cannot listen on {address}"),
            port => format!("cannot listen on {address}; is port {port} in use?"),
        };
        // Alone first: shared ports would hide another proxy that is running.
        let probe = bind(address, false).with_context(context)?;
        let address = probe.local_addr()?;
        if count == 1 {
            return Ok(Self {
                address,
                sockets: vec![probe],
            });
        }
        drop(probe);
        let sockets: std::io::Result<Vec<_>> = (0..count).map(|_| bind(address, true)).collect();
        Ok(Self {
            address,
            sockets: sockets.with_context(context)?,
        })
    }
}

fn bind(address: SocketAddr, shared: bool) -> std::io::Result<StdListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    if shared {
        socket.set_reuse_port(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// What one worker needs to accept connections.
#[derive(Clone)]
pub(crate) struct Acceptor {
    pub(crate) shared: Arc<Shared>,
    pub(crate) metrics: Arc<Metrics>,
    /// Connections and tunnels of this worker.
    pub(crate) tasks: TaskTracker,
    /// For a TLS listener.
    pub(crate) tls: Option<TlsAcceptor>,
}

impl Acceptor {
    /// Accepts until the program stops.
    pub(crate) async fn run(self, listener: TcpListener) {
        let stopping = self.shared.stopping.clone();
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = stopping.cancelled() => return,
            };
            match accepted {
                Ok((stream, peer)) => self.admit(stream, peer),
                Err(error) if is_of_the_peer(&error) => {}
                Err(error) => {
                    tracing::error!(%error, "cannot accept connections; raise the limit of open files");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn admit(&self, stream: TcpStream, peer: SocketAddr) {
        let is_tls = self.tls.is_some();
        match Client::admit(&self.shared, &self.metrics, &self.tasks, peer.ip(), is_tls) {
            Some(client) => {
                let serving = connection::serve(Arc::new(client), stream, self.tls.clone());
                self.tasks.spawn(serving);
            }
            None => self.metrics.connection_refused(), // dropping closes it
        }
    }
}

fn is_of_the_peer(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionAborted
            | ErrorKind::ConnectionReset
            | ErrorKind::ConnectionRefused
            | ErrorKind::Interrupted
    )
}
