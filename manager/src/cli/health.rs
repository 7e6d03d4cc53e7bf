//! `openflow health`: the question that a container's health check asks, so
//! that no image needs a program for it.
use std::{net::SocketAddr, process::ExitCode, time::Duration};

use anyhow::Context as _;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::{Request, StatusCode, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, time::timeout};

use super::console::say;
use crate::config::Config;

const PATH: &str = "/api/v1/health/ready";
const TIMEOUT: Duration = Duration::from_secs(8);
const BODY_BYTES_MAX: usize = 64 << 10;

/// Prints what the running manager says of itself (JSON). 0 when it serves
/// requests, 1 when it does not or nobody answers.
pub(super) async fn run(config: &Config) -> anyhow::Result<ExitCode> {
    let mut address = config.address.listen;
    if address.ip().is_unspecified() {
        address.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
    }
    let (status, body) = timeout(TIMEOUT, ask(address))
        .await
        .map_err(anyhow::Error::from)
        .flatten()
        .with_context(|| format!("no manager answers at {address} (OPENFLOW_LISTEN)"))?;
    say(String::from_utf8_lossy(&body));
    Ok(match status {
        StatusCode::OK => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

async fn ask(address: SocketAddr) -> anyhow::Result<(StatusCode, Bytes)> {
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let request = Request::get(PATH)
        .header(header::HOST, address.to_string())
        .body(Empty::<Bytes>::new())?;
    let response = sender.send_request(request).await?;
    let status = response.status();
    let body = Limited::new(response.into_body(), BODY_BYTES_MAX);
    let body = body.collect().await.map_err(anyhow::Error::from_boxed)?;
    Ok((status, body.to_bytes()))
}

#[cfg(test)]
mod tests {
    use clap::FromArgMatches as _;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;

    fn config(address: SocketAddr) -> Config {
        let args = ["openflow", "health", "--listen", &address.to_string()];
        let matches = super::super::command().try_get_matches_from(args).unwrap();
        Config::from_arg_matches(&matches).unwrap()
    }

    async fn verdict_of(answer: &'static str) -> ExitCode {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = [0; 4096];
            let count = stream.read(&mut head).await.unwrap();
            assert!(head[..count].starts_with(b"GET /api/v1/health/ready "));
            stream.write_all(answer.as_bytes()).await.unwrap();
        });
        run(&config(address)).await.unwrap()
    }

    #[tokio::test]
    async fn the_exit_code_tells_a_ready_manager_from_the_rest() {
        let ready = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";
        assert_eq!(verdict_of(ready).await, ExitCode::SUCCESS);
        let without_database = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 2\r\n\r\n{}";
        assert_eq!(verdict_of(without_database).await, ExitCode::FAILURE);
    }

    #[tokio::test]
    async fn nobody_there_is_said_with_the_setting() {
        let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let error = run(&config(address)).await.unwrap_err();
        assert!(error.to_string().contains("OPENFLOW_LISTEN"), "{error}");
    }
}
