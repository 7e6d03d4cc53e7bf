//! Puts the parts together. Knows every slice; no slice knows it.
mod settings;

use std::net::SocketAddr;

use anyhow::Context as _;
use axum::{Router, http::StatusCode, middleware, routing::get};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

pub use settings::{SECRET_KEYS_FILE, Secrets, Settings};

use crate::{db::Db, web};

/// The running manager.
pub struct App {
    /// Where it listens.
    pub address: SocketAddr,
    /// Where the first administrator signs up; `None` once there is one.
    pub setup_url: Option<String>,
    stop: CancellationToken,
    server: JoinHandle<std::io::Result<()>>,
}

impl App {
    /// Begins to serve. The database has been migrated.
    pub async fn start(settings: Settings, db: Db) -> anyhow::Result<Self> {
        let listen = settings.config.address.listen;
        let listener = TcpListener::bind(listen)
            .await
            .with_context(|| format!("cannot listen on {listen} (--listen)"))?;
        let address = listener.local_addr()?;
        let router = Router::new()
            .route("/api/v1/health/live", get(|| async { StatusCode::OK }))
            .route("/api/v1/health/ready", get(move || ready(db.clone())))
            .fallback(web::not_found)
            .layer(middleware::from_fn(web::finish))
            .into_make_service_with_connect_info::<SocketAddr>();
        let stop = CancellationToken::new();
        let stopped = stop.clone().cancelled_owned();
        let server = axum::serve(listener, router).with_graceful_shutdown(stopped);
        Ok(Self {
            address,
            setup_url: None,
            stop,
            server: tokio::spawn(server.into_future()),
        })
    }

    /// Finishes the requests under way.
    pub async fn stop(self) {
        self.stop.cancel();
        if let Ok(Err(error)) = self.server.await {
            tracing::error!(%error, "the manager's server failed: {error}");
        }
    }
}

async fn ready(db: Db) -> StatusCode {
    match db.ping().await {
        Ok(()) => StatusCode::OK,
        Err(_) => StatusCode::SERVICE_UNAVAILABLE,
    }
}
