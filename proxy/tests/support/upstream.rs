//! An instance: a real HTTP server that remembers what it was asked.
use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};

use super::loopback;

/// A request as it reached the upstream.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// Which connection it came on, from 0.
    pub(crate) connection: usize,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    connections: Arc<AtomicUsize>,
    accepting: tokio::task::JoinHandle<()>,
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Upstream {
    /// Answers `200` with the path as its body.
    pub(crate) async fn echo() -> Self {
        Self::answering(|seen| Response::new(Full::from(seen.path.clone()))).await
    }

    /// Node-RED with one flow at `/api/hook`; everything else outside `/` is 404.
    pub(crate) async fn node_red() -> Self {
        Self::answering(|seen| match seen.path.split('?').next() {
            Some("/") => Response::new(Full::from("editor")),
            Some("/api/hook") => Response::new(Full::from(seen.body.clone())),
            _ => Response::builder()
                .status(404)
                .body(Full::from("Cannot find it"))
                .unwrap(),
        })
        .await
    }

    pub(crate) async fn answering(
        answer: impl Fn(&Seen) -> Response<Full<Bytes>> + Send + Sync + 'static,
    ) -> Self {
        let answer = Arc::new(answer);
        Self::accepting(move |stream, number, seen| {
            let answer = Arc::clone(&answer);
            async move {
                let service = service_fn(move |request: Request<hyper::body::Incoming>| {
                    let (answer, seen) = (Arc::clone(&answer), Arc::clone(&seen));
                    async move {
                        let (parts, body) = request.into_parts();
                        let body = body
                            .collect()
                            .await
                            .map(|body| body.to_bytes())
                            .unwrap_or_default();
                        let request = Seen {
                            method: parts.method,
                            path: parts.uri.to_string(),
                            headers: parts.headers,
                            body,
                            connection: number,
                        };
                        let response = answer(&request);
                        seen.lock().unwrap().push(request);
                        Ok::<_, Infallible>(response)
                    }
                });
                let server = hyper::server::conn::http1::Builder::new();
                server
                    .serve_connection(TokioIo::new(stream), service)
                    .await
                    .ok();
            }
        })
        .await
    }

    /// Speaks whatever `serve` does with each connection, numbered from 0.
    pub(crate) async fn raw<F: Future<Output = ()> + Send + 'static>(
        serve: impl Fn(TcpStream, usize) -> F + Send + Sync + 'static,
    ) -> Self {
        Self::accepting(move |stream, number, _| serve(stream, number)).await
    }

    async fn accepting<F: Future<Output = ()> + Send + 'static>(
        serve: impl Fn(TcpStream, usize, Arc<Mutex<Vec<Seen>>>) -> F + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(loopback()).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (seen, connections) = (Arc::default(), Arc::new(AtomicUsize::new(0)));
        let (remember, count) = (Arc::clone(&seen), Arc::clone(&connections));
        let accepting = tokio::spawn(async move {
            let mut serving = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let number = count.fetch_add(1, Ordering::SeqCst);
                serving.spawn(serve(stream, number, Arc::clone(&remember)));
            }
        });
        Self {
            address,
            seen,
            connections,
            accepting,
        }
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub(crate) fn last(&self) -> Seen {
        self.seen().pop().expect("the upstream saw no request")
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}
