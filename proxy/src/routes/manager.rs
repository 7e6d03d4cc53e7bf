//! The manager's internal API: the route feed, and redeeming access tokens.
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::TokioIo;
use openflow_route_api::{Role, RouteTable};
use serde::{Deserialize, Serialize};
use tokio::{net::TcpStream, time::timeout};
use url::Url;
use uuid::Uuid;

use crate::config::Secret;

const SECRET_HEADER: &str = "x-openflow-proxy-secret";
/// A hundred instances are some 40 kB.
const TABLE_BYTES_MAX: usize = 64 * 1024 * 1024;
const REDEEMED_BYTES_MAX: usize = 64 * 1024;
const WAIT: Duration = Duration::from_secs(30);
const FEED_TIMEOUT: Duration = Duration::from_secs(45);
const REDEEM_TIMEOUT: Duration = Duration::from_secs(5);

/// A client of the manager; a connection per call, as calls are rare.
pub(crate) struct Manager {
    authority: String,
    path: String,
    secret: Option<Secret>,
}

/// What an access token turned out to stand for.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Redeemed {
    pub(crate) session_id: Uuid,
    pub(crate) user_id: Uuid,
    pub(crate) name: String,
    pub(crate) role: Role,
    pub(crate) expires_at: chrono::DateTime<chrono::Utc>,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum RedeemError {
    #[error("the access token is used up, expired or for another instance")]
    Gone,
    #[error("the manager does not answer: {0:#}")]
    Away(anyhow::Error),
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RedeemRequest<'a> {
    instance_id: Uuid,
    token: &'a str,
}

impl Manager {
    /// # Errors
    /// When `url` is not an `http://` URL with a host.
    pub(crate) fn new(url: &Url, secret: Option<Secret>) -> anyhow::Result<Self> {
        ensure!(
            url.scheme() == "http",
            "OPENFLOW_MANAGER_URL must begin with http://; reach the manager over a private network"
        );
        let host = url.host_str().context("OPENFLOW_MANAGER_URL has no host")?;
        Ok(Self {
            authority: format!("{host}:{}", url.port().unwrap_or(80)),
            path: url.path().trim_end_matches('/').to_owned(),
            secret,
        })
    }

    /// The table, when its revision is not `after`; waits for a change.
    pub(crate) async fn routes(&self, after: Option<&str>) -> anyhow::Result<Option<RouteTable>> {
        let wait = match after {
            Some(after) => {
                let after = crate::forward::percent_encode(after);
                format!("?after={after}&waitSeconds={}", WAIT.as_secs())
            }
            None => String::new(),
        };
        let path = format!("/internal/v1/routes{wait}");
        let call = self.call(Method::GET, &path, Bytes::new(), TABLE_BYTES_MAX);
        let (status, body) = timeout(FEED_TIMEOUT, call)
            .await
            .context("the manager was silent")??;
        match status {
            StatusCode::OK => Ok(Some(
                serde_json::from_slice(&body).context("reading the table")?,
            )),
            StatusCode::NO_CONTENT => Ok(None),
            StatusCode::UNAUTHORIZED => {
                bail!("the manager refused OPENFLOW_PROXY_SECRET; give both programs the same one")
            }
            status => bail!("the manager answered {status}"),
        }
    }

    pub(crate) async fn redeem(
        &self,
        instance_id: Uuid,
        token: &str,
    ) -> Result<Redeemed, RedeemError> {
        let body = serde_json::to_vec(&RedeemRequest { instance_id, token });
        let body = body.map_err(|error| RedeemError::Away(error.into()))?;
        let call = self.call(
            Method::POST,
            "/internal/v1/redeem",
            body.into(),
            REDEEMED_BYTES_MAX,
        );
        let answer = timeout(REDEEM_TIMEOUT, call)
            .await
            .context("no answer within 5 s");
        let (status, body) = answer
            .and_then(|answer| answer)
            .map_err(RedeemError::Away)?;
        match status {
            StatusCode::OK => {
                serde_json::from_slice(&body).map_err(|error| RedeemError::Away(error.into()))
            }
            StatusCode::GONE => Err(RedeemError::Gone),
            status => Err(RedeemError::Away(anyhow::anyhow!(
                "the manager answered {status}"
            ))),
        }
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
        answer_bytes_max: usize,
    ) -> anyhow::Result<(StatusCode, Bytes)> {
        let stream = TcpStream::connect(&self.authority)
            .await
            .context("connecting to the manager")?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.path))
            .header(header::HOST, &self.authority)
            .header(header::CONTENT_TYPE, "application/json");
        if let Some(secret) = &self.secret {
            request = request.header(SECRET_HEADER, secret.expose());
        }
        let exchange = async {
            let response = sender.send_request(request.body(Full::new(body))?).await?;
            let status = response.status();
            let body = Limited::new(response.into_body(), answer_bytes_max)
                .collect()
                .await;
            let body =
                body.map_err(|error| anyhow::anyhow!("reading the manager's answer: {error}"))?;
            Ok((status, body.to_bytes()))
        };
        tokio::pin!(exchange, connection);
        tokio::select! {
            biased;
            answer = &mut exchange => answer,
            ended = &mut connection => {
                ended?;
                exchange.await // what was read before the end is still there
            }
        }
    }
}
