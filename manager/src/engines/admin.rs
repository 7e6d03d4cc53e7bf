//! What is asked of an engine that runs, at its own door inside the network.
use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{Method, Request, StatusCode, header};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use serde_json::Value;

use crate::kernel::Secret;

/// The engine as its owner: its address, and the instance's magic token.
#[derive(Clone, Debug)]
pub struct Admin {
    pub address: SocketAddr,
    pub magic: Secret,
}

/// What comes of a request.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: Bytes,
}

/// How much is read of an answer, and how long it is waited for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) bytes: u64,
    pub(super) time: Duration,
}

impl Admin {
    /// `body` is JSON. Fails with the reason, for a person.
    pub(super) async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Vec<u8>,
        bounds: Bounds,
    ) -> Result<Answer, String> {
        let request = Request::builder()
            .method(method)
            .uri(format!("http://{}{path}", self.address))
            .header(header::CONTENT_TYPE, "application/json")
            .header(
                header::AUTHORIZATION,
                format!("Bearer {}", self.magic.expose()),
            )
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| error.to_string())?;
        let client = Client::builder(TokioExecutor::new()).build_http();
        let ask = async {
            let response = client
                .request(request)
                .await
                .map_err(|error| error.to_string())?;
            let status = response.status();
            let limit = usize::try_from(bounds.bytes).unwrap_or(usize::MAX);
            let body = Limited::new(response.into_body(), limit)
                .collect()
                .await
                .map_err(|error| error.to_string())?;
            Ok(Answer {
                status,
                body: body.to_bytes(),
            })
        };
        tokio::time::timeout(bounds.time, ask)
            .await
            .unwrap_or_else(|_| Err(format!("no answer after {} s", bounds.time.as_secs())))
    }
}

/// What an engine says, fit to be shown and stored: what runs in it is the
/// tenant's.
pub(super) fn shown(text: &str) -> String {
    const CHARS_MAX: usize = 1000;
    let safe = |c: char| if c.is_control() { ' ' } else { c };
    text.trim().chars().take(CHARS_MAX).map(safe).collect()
}

impl Answer {
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}
