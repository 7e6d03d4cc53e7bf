//! Sends a request to an instance and returns its answer as a stream.
mod connection;
mod decode;
mod pool;

use std::{future::poll_fn, io, time::Duration};

use bytes::BytesMut;
use http::Method;
use tokio::{net::TcpStream, time::timeout};

pub(crate) use connection::{Connection, ResponseBody};
pub(crate) use decode::Head;
pub(crate) use pool::{PoolKey, clear as clear_pool, sweep as sweep_pool};

use super::body::{BodyError, RequestBody};

#[derive(Debug, thiserror::Error)]
pub(crate) enum UpstreamError {
    #[error("connecting: {0}")]
    Connect(io::Error),
    #[error("connecting took too long")]
    ConnectTimeout,
    #[error("the instance closed the connection without an answer")]
    Closed,
    #[error("the connection ended inside a message")]
    Incomplete,
    #[error("the instance was silent too long")]
    Timeout,
    #[error(transparent)]
    Io(io::Error),
    #[error(transparent)]
    Decode(#[from] decode::DecodeError),
    #[error(transparent)]
    Request(BodyError),
    #[error("the right to this stream has ended")]
    Revoked,
    #[error("the proxy stops")]
    Stopping,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Timeouts {
    pub(crate) connect: Duration,
    pub(crate) response: Duration,
}

/// Sends one request. A pooled connection that turns out to be dead is replaced
/// once, when the request cannot have been acted upon: nothing of it was sent,
/// or its method is idempotent (RFC 9110 §9.2.2) and its body is still at hand.
pub(crate) async fn send(
    key: PoolKey,
    method: &Method,
    mut body: RequestBody,
    write_head: impl Fn(&mut BytesMut),
    timeouts: Timeouts,
) -> Result<(Head, Box<Connection>), UpstreamError> {
    if let Some(mut connection) = pool::take(&key) {
        connection.begin(method, body.clone(), &write_head, timeouts.response);
        match poll_fn(|cx| connection.poll_head(cx, method)).await {
            Ok(head) => return Ok((head, connection)),
            Err(UpstreamError::Closed) if connection.nothing_sent() || method.is_idempotent() => {
                body = body.again().ok_or(UpstreamError::Closed)?;
            }
            Err(error) => return Err(error),
        }
    }
    let mut connection = Box::new(connect(key, timeouts.connect).await?);
    connection.begin(method, body, write_head, timeouts.response);
    let head = poll_fn(|cx| connection.poll_head(cx, method)).await?;
    Ok((head, connection))
}

async fn connect(key: PoolKey, patience: Duration) -> Result<Connection, UpstreamError> {
    let connected = timeout(patience, TcpStream::connect(key.address)).await;
    let io = match connected {
        Ok(Ok(io)) => io,
        Ok(Err(error)) if error.kind() == io::ErrorKind::TimedOut => {
            return Err(UpstreamError::ConnectTimeout);
        }
        Ok(Err(error)) => return Err(UpstreamError::Connect(error)),
        Err(_) => return Err(UpstreamError::ConnectTimeout),
    };
    io.set_nodelay(true).map_err(UpstreamError::Connect)?;
    Ok(Connection::new(io, key))
}
