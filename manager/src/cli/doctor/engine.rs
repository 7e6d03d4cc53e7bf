//! Two questions to the Docker Engine, without the runtime: the doctor must
//! work where nothing else does.
use std::time::Duration;

use anyhow::{Context as _, bail};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::{Request, StatusCode, client::conn::http1};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
};

const TIMEOUT: Duration = Duration::from_secs(10);
const BODY_BYTES_MAX: usize = 4 << 20;

/// The JSON at `path` of the engine's API; `None` for 404.
pub(super) async fn get(host: &str, path: &str) -> anyhow::Result<Option<Value>> {
    let answer = async {
        match host.split_once("://") {
            Some(("unix", socket)) => request(UnixStream::connect(socket).await?, path).await,
            Some(("tcp" | "http", address)) => {
                let address = address.trim_end_matches('/');
                request(TcpStream::connect(address).await?, path).await
            }
            _ => bail!("only unix:// and tcp:// are checked"),
        }
    };
    tokio::time::timeout(TIMEOUT, answer)
        .await
        .context("no answer within 10 s")?
}

async fn request(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    path: &str,
) -> anyhow::Result<Option<Value>> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let request = Request::get(path)
        .header("host", "docker")
        .body(Empty::<bytes::Bytes>::new())?;
    let response = sender.send_request(request).await?;
    match response.status() {
        StatusCode::OK => {}
        StatusCode::NOT_FOUND => return Ok(None),
        status => bail!("it answered {status}"),
    }
    let body = Limited::new(response.into_body(), BODY_BYTES_MAX)
        .collect()
        .await;
    let body = body.map_err(anyhow::Error::from_boxed)?.to_bytes();
    Ok(Some(serde_json::from_slice(&body)?))
}
