//! `/ready` and `/metrics`, on an address of their own.
use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context as _, bail};
use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::{Empty, Full};
use hyper::{body::Incoming, client::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::timeout,
};

use crate::{
    metrics::{self, Metrics},
    routes::Tables,
};

const CONNECTIONS_MAX: usize = 32;
const CONNECTION_TIME_MAX: Duration = Duration::from_secs(60);
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
const CHECK_TIMEOUT: Duration = Duration::from_secs(8);

/// Asks a running proxy's `/ready`; `address` is its admin listener.
///
/// # Errors
/// When nobody answers, or the proxy has no routes yet.
pub async fn check(address: SocketAddr) -> anyhow::Result<()> {
    let asking = async {
        let stream = TcpStream::connect(address).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        let request = Request::get("/ready")
            .header(header::HOST, address.to_string())
            .body(Empty::<Bytes>::new())?;
        anyhow::Ok(sender.send_request(request).await?.status())
    };
    let status = timeout(CHECK_TIMEOUT, asking)
        .await
        .map_err(anyhow::Error::from)
        .flatten()
        .with_context(|| format!("no proxy answers at {address}"))?;
    if status != StatusCode::OK {
        bail!("the proxy at {address} has no routes yet ({status}); does the manager answer it?");
    }
    Ok(())
}

pub(crate) struct Admin {
    pub(crate) tables: Arc<Tables>,
    pub(crate) workers: Vec<Arc<Metrics>>,
}

impl Admin {
    /// Serves for ever.
    pub(crate) async fn run(self: Arc<Self>, listener: TcpListener) {
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else {
                return;
            };
            let Ok((stream, _)) = listener.accept().await else {
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            };
            let admin = Arc::clone(&self);
            tokio::spawn(async move {
                let service = service_fn(|request| {
                    let response = admin.answer(&request);
                    async move { Ok::<_, Infallible>(response) }
                });
                let connection = hyper::server::conn::http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(HEADER_TIMEOUT)
                    .serve_connection(TokioIo::new(stream), service);
                timeout(CONNECTION_TIME_MAX, connection).await.ok();
                drop(place);
            });
        }
    }

    fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        let (status, kind, text) = match request.uri().path() {
            "/ready" if self.tables.current().is_some() => {
                (StatusCode::OK, "text/plain", "ready\n".to_owned())
            }
            "/ready" => (
                StatusCode::SERVICE_UNAVAILABLE,
                "text/plain",
                "no route table yet\n".to_owned(),
            ),
            "/metrics" => (
                StatusCode::OK,
                "text/plain; version=0.0.4",
                metrics::render(&self.workers, self.tables.age()),
            ),
            _ => (
                StatusCode::NOT_FOUND,
                "text/plain",
                "try /ready or /metrics\n".to_owned(),
            ),
        };
        let mut response = Response::new(Full::new(text.into()));
        *response.status_mut() = status;
        let kind = header::HeaderValue::from_static(kind);
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        response
    }
}
