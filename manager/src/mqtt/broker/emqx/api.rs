//! EMQX's management API (`/api/v5`): one request and its answer.
use std::{sync::Arc, time::Duration};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use http::{HeaderValue, Method, Request, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use serde::de::DeserializeOwned;
use tokio::sync::Semaphore;
use url::Url;

use super::tls;
use crate::{kernel::Secret, mqtt::BrokerError};

/// From the first try to connect to the last byte of the answer.
const TIMEOUT: Duration = Duration::from_secs(5);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// More than a page of clients comes to with ids of the greatest length.
const BODY_BYTES_MAX: usize = 8 << 20;
const REQUESTS_AT_ONCE: usize = 8;
const IDLE_CONNECTIONS_MAX: usize = 4;
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// Of a message of EMQX's in ours.
const MESSAGE_CHARS_MAX: usize = 200;

/// The management API with a key that may use it. Cheap to clone.
#[derive(Clone)]
pub struct EmqxApi {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    /// Scheme, host and port, without a slash at the end.
    base: String,
    authorization: HeaderValue,
    permits: Arc<Semaphore>,
}

/// What EMQX said: a success, or 404 with an empty body.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    body: Bytes,
}

impl EmqxApi {
    /// `key` is `<key>:<secret>`. Fails where an https URL is given and the
    /// host's certificate authorities cannot be read.
    pub fn new(url: &Url, key: &Secret) -> Result<Self, BrokerError> {
        let tls = match url.scheme() {
            "https" => tls::trusting_the_hosts_authorities()?,
            _ => tls::trusting_nobody()?,
        };
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
        tcp.set_nodelay(true);
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
            .build(connector);
        let basic = format!("Basic {}", BASE64_STANDARD.encode(key.expose()));
        let mut authorization = HeaderValue::try_from(basic)
            .map_err(|_| BrokerError::Unsupported("OPENFLOW_EMQX_API_KEY is no key".to_owned()))?;
        authorization.set_sensitive(true);
        Ok(Self {
            client,
            base: url.as_str().trim_end_matches('/').to_owned(),
            authorization,
            permits: Arc::new(Semaphore::new(REQUESTS_AT_ONCE)),
        })
    }

    /// The JSON at `path`, which goes on after `/api/v5`, with its query.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, BrokerError> {
        let answer = self.ask(Method::GET, path, None).await?;
        if answer.status == 404 {
            return Err(BrokerError::Refused(format!("it knows no {path}")));
        }
        serde_json::from_slice(&answer.body).map_err(|error| {
            BrokerError::Unavailable(format!("its API answered {path} with garbage: {error}"))
        })
    }

    pub(super) async fn post(
        &self,
        path: &str,
        body: &serde_json::Value,
    ) -> Result<Answer, BrokerError> {
        self.ask(Method::POST, path, Some(body)).await
    }

    pub(super) async fn delete(&self, path: &str) -> Result<Answer, BrokerError> {
        self.ask(Method::DELETE, path, None).await
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<&serde_json::Value>,
    ) -> Result<Answer, BrokerError> {
        let request = Request::builder()
            .method(method)
            .uri(format!("{}/api/v5{path}", self.base))
            .header(header::AUTHORIZATION, self.authorization.clone())
            .header(header::ACCEPT, "application/json");
        let request = match body {
            Some(body) => request
                .header(header::CONTENT_TYPE, "application/json")
                .body(Full::from(body.to_string())),
            None => request.body(Full::default()),
        };
        let request = request.map_err(|error| unavailable(&error))?;
        let answer = async {
            let _permit = self.permits.acquire().await;
            let response = self.client.request(request).await;
            let (head, body) = response.map_err(|error| unavailable(&error))?.into_parts();
            let body = Limited::new(body, BODY_BYTES_MAX).collect().await;
            let body = body.map_err(|error| unavailable(&*error))?.to_bytes();
            Ok((head.status.as_u16(), body))
        };
        match tokio::time::timeout(TIMEOUT, answer).await {
            Ok(answer) => answer.and_then(|(status, body)| judge(status, body)),
            Err(_) => Err(BrokerError::Unavailable(format!(
                "its API at {} is too slow",
                self.base
            ))),
        }
    }
}

fn judge(status: u16, body: Bytes) -> Result<Answer, BrokerError> {
    match status {
        200..300 => Ok(Answer { status, body }),
        404 => Ok(Answer {
            status,
            body: Bytes::new(),
        }),
        401 | 403 => Err(BrokerError::Unsupported(
            "EMQX refuses the API key. Give one with the role administrator as OPENFLOW_EMQX_API_KEY."
                .to_owned(),
        )),
        400..500 => Err(BrokerError::Refused(message_of(status, &body))),
        _ => Err(BrokerError::Unavailable(message_of(status, &body))),
    }
}

/// `{"code": …, "message": …}`, or what else came.
fn message_of(status: u16, body: &[u8]) -> String {
    let json: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let text = match json["message"].as_str().or(json["reason"].as_str()) {
        Some(message) => message.to_owned(),
        None => String::from_utf8_lossy(body).into_owned(),
    };
    let text: String = text.chars().take(MESSAGE_CHARS_MAX).collect();
    format!("its API answered {status} {text}")
        .trim_end()
        .to_owned()
}

/// With the causes, which the libraries keep out of their messages.
fn unavailable(error: &dyn std::error::Error) -> BrokerError {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(it) = cause {
        text = format!("{text}: {it}");
        cause = it.source();
    }
    BrokerError::Unavailable(text)
}
