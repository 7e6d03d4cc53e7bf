//! One client connection from accept to close.
use std::{
    convert::Infallible,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use http::Request;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;

use super::io::ClientIo;
use crate::{
    context::Client,
    forward::{handle, keep_alive},
};

const HEAD_BYTES_MAX: usize = 64 * 1024;
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const PEEK_PERIOD: Duration = Duration::from_millis(20);
const H2_STREAMS_MAX: u32 = 128;
const H2_WINDOW_BYTES: u32 = 1024 * 1024;
const H2_RESETS_MAX: usize = 64;
const H2_PING_PERIOD: Duration = Duration::from_secs(30);
const H2_PING_TIMEOUT: Duration = Duration::from_secs(20);
/// An HTTP/2 connection without a request is closed after this long.
const H2_IDLE_MAX: Duration = Duration::from_secs(120);

pub(super) async fn serve(client: Arc<Client>, stream: TcpStream, tls: Option<TlsAcceptor>) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY could not be set");
    }
    keep_alive(&stream);
    let Some(tls) = tls else {
        return match timeout(client.shared.limits.header_timeout, speaks_http2(&stream)).await {
            Ok(true) => serve_http2(client, stream).await,
            Ok(false) => serve_http1(client, stream).await,
            Err(_) => {} // silent from the start
        };
    };
    let stopping = client.shared.stopping.clone();
    let handshake = timeout(HANDSHAKE_TIMEOUT, tls.accept(stream));
    let stream = tokio::select! {
        handshake = handshake => handshake,
        () = stopping.cancelled() => return,
    };
    match stream {
        Ok(Ok(stream)) if stream.get_ref().1.alpn_protocol() == Some(b"h2") => {
            serve_http2(client, stream).await
        }
        Ok(Ok(stream)) => serve_http1(client, stream).await,
        Ok(Err(error)) => tracing::debug!(%error, peer = client.peer, "a TLS handshake failed"),
        Err(_) => {}
    }
}

/// Looks at the first bytes without taking them.
async fn speaks_http2(stream: &TcpStream) -> bool {
    let mut start = [0; PREFACE.len()];
    loop {
        match stream.peek(&mut start).await {
            Ok(0) | Err(_) => return false,
            Ok(count) => match start.get(..count) {
                Some(start) if !PREFACE.starts_with(start) => return false,
                Some(start) if start.len() == PREFACE.len() => return true,
                _ => sleep(PEEK_PERIOD).await, // the readiness stays, so no waiting for it
            },
        }
    }
}

async fn serve_http1(
    client: Arc<Client>,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) {
    let shared = Arc::clone(&client.shared);
    let io = ClientIo::new(TokioIo::new(stream), shared.limits.client_idle_timeout);
    let service = service_fn(move |request: Request<Incoming>| {
        let client = Arc::clone(&client);
        async move { Ok::<_, Infallible>(handle(client, request).await) }
    });
    let mut connection = pin!(
        hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(shared.limits.header_timeout)
            .max_buf_size(HEAD_BYTES_MAX)
            .serve_connection(io, service)
            .with_upgrades()
    );
    tokio::select! {
        biased;
        ended = &mut connection => return log_end(ended),
        () = shared.stopping.cancelled() => {}
    }
    connection.as_mut().graceful_shutdown();
    if let Ok(ended) = timeout(shared.limits.drain_timeout, connection).await {
        log_end(ended);
    }
}

async fn serve_http2(
    client: Arc<Client>,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) {
    let shared = Arc::clone(&client.shared);
    let activity = Arc::new(Activity::default());
    let io = ClientIo::new(TokioIo::new(stream), shared.limits.client_idle_timeout);
    let counted = Arc::clone(&activity);
    let service = service_fn(move |request: Request<Incoming>| {
        let (client, running) = (Arc::clone(&client), Running::start(&counted));
        async move {
            let response = handle(client, request).await;
            Ok::<_, Infallible>(response.map(|body| CountedBody {
                body,
                _running: running,
            }))
        }
    });
    let mut builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(H2_STREAMS_MAX)
        .max_header_list_size(HEAD_BYTES_MAX as u32)
        .max_pending_accept_reset_streams(H2_RESETS_MAX)
        .max_local_error_reset_streams(H2_RESETS_MAX)
        .initial_stream_window_size(H2_WINDOW_BYTES)
        .initial_connection_window_size(H2_WINDOW_BYTES)
        .keep_alive_interval(H2_PING_PERIOD)
        .keep_alive_timeout(H2_PING_TIMEOUT);
    let mut connection = pin!(builder.serve_connection(io, service));
    tokio::select! {
        biased;
        ended = &mut connection => return log_end(ended),
        () = shared.stopping.cancelled() => {}
        () = activity.idle() => {}
    }
    connection.as_mut().graceful_shutdown();
    if let Ok(ended) = timeout(shared.limits.drain_timeout, connection).await {
        log_end(ended);
    }
}

fn log_end(ended: hyper::Result<()>) {
    if let Err(error) = ended {
        tracing::debug!(%error, "a client connection ended early");
    }
}

/// Counts an HTTP/2 connection's requests, to find idle ones.
#[derive(Default)]
struct Activity {
    running: AtomicUsize,
    started: AtomicU64,
}

impl Activity {
    /// Returns once no request has run for [`H2_IDLE_MAX`].
    async fn idle(&self) {
        let mut seen = None;
        loop {
            let started = self.started.load(Ordering::Relaxed);
            let running = self.running.load(Ordering::Relaxed);
            if running == 0 && seen == Some(started) {
                return;
            }
            seen = (running == 0).then_some(started);
            sleep(H2_IDLE_MAX).await;
        }
    }
}

struct Running(Arc<Activity>);

impl Running {
    fn start(activity: &Arc<Activity>) -> Self {
        activity.running.fetch_add(1, Ordering::Relaxed);
        activity.started.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(activity))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A body that keeps its request counted until it has ended.
struct CountedBody<B> {
    body: B,
    _running: Running,
}

impl<B: http_body::Body + Unpin> http_body::Body for CountedBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}
