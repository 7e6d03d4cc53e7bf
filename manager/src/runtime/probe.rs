use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::{Request, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::{net::TcpStream, time::timeout};

use super::Probe;

const CONNECT_TIMEOUT: Duration = Duration::from_millis(250);
const TIMEOUT: Duration = Duration::from_secs(1);
const HEAD_BYTES_MAX: usize = 16 << 10;
const BODY_BYTES_MAX: usize = 4 << 10;

/// The body of `GET /openflow/health`.
#[derive(Deserialize)]
struct Health {
    ok: bool,
    #[serde(default)]
    flows: bool,
}

/// One health request on a connection of its own. The other end may be
/// hostile: time, head and body are bounded.
pub(super) async fn probe(address: SocketAddr, path: &str) -> Probe {
    match timeout(TIMEOUT, ask(address, path)).await {
        Ok(Some(Health { ok: true, flows })) => Probe::Up { flows },
        _ => Probe::Down,
    }
}

async fn ask(address: SocketAddr, path: &str) -> Option<Health> {
    let connecting = timeout(CONNECT_TIMEOUT, TcpStream::connect(address));
    let stream = connecting.await.ok()?.ok()?;
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(HEAD_BYTES_MAX)
        .handshake(TokioIo::new(stream))
        .await
        .ok()?;
    let request = Request::get(path)
        .header(header::HOST, address.to_string())
        .header(header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .ok()?;
    let answering = async {
        let response = sender.send_request(request).await.ok()?;
        if !response.status().is_success() {
            return None;
        }
        let body = Limited::new(response.into_body(), BODY_BYTES_MAX);
        let body = body.collect().await.ok()?.to_bytes();
        serde_json::from_slice(&body).ok()
    };
    // The connection has to be driven while the answer is read; when it ends
    // first, what it had read is still to be had.
    tokio::pin!(answering);
    tokio::select! {
        answer = &mut answering => answer,
        _ = connection => answering.await,
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;

    /// What a probe makes of a server that answers with `answer` and then
    /// hangs up, or (`None`) never answers.
    async fn of(answer: Option<String>) -> Probe {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let Some(answer) = answer else {
                return std::future::pending().await;
            };
            let mut head = [0; 1024];
            let _ = stream.read(&mut head).await;
            let _ = stream.write_all(answer.as_bytes()).await;
            let _ = stream.shutdown().await;
            let _ = stream.read_to_end(&mut Vec::new()).await;
        });
        let probe = probe(address, "/openflow/health").await;
        server.abort();
        probe
    }

    fn answer(status: &str, body: &str) -> Option<String> {
        let length = body.len();
        Some(format!(
            "HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n{body}"
        ))
    }

    #[tokio::test]
    async fn only_a_success_that_says_ok_counts_as_up() {
        let up = |flows| Probe::Up { flows };
        let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n\
                       b\r\n{\"ok\":true}\r\n0\r\n\r\n";
        let until_eof = "HTTP/1.1 200 OK\r\n\r\n{\"ok\":true,\"flows\":true}";
        let cases = [
            (answer("200 OK", r#"{"ok":true,"flows":true}"#), up(true)),
            (answer("200 OK", r#"{"ok":true,"flows":false}"#), up(false)),
            (Some(chunked.into()), up(false)),
            (Some(until_eof.into()), up(true)),
            (answer("200 OK", r#"{"ok":false}"#), Probe::Down),
            (answer("404 Not Found", r#"{"ok":true}"#), Probe::Down),
            (answer("200 OK", "<html>"), Probe::Down),
            (
                answer("200 OK", &format!("{}{{\"ok\":true}}", " ".repeat(5000))),
                Probe::Down,
            ),
            (Some("nonsense\r\n\r\n".into()), Probe::Down),
            (None, Probe::Down),
        ];
        for (text, expected) in cases {
            assert_eq!(of(text.clone()).await, expected, "{text:?}");
        }
        let nobody = {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            listener.local_addr().unwrap()
        };
        assert_eq!(probe(nobody, "/").await, Probe::Down);
    }
}
