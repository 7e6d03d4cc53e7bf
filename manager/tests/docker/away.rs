//! What the Docker driver does while the engine is away or does not answer.
//! The real engine is never stopped: a socket of the test stands before it.
use std::{path::Path, time::Duration};

use futures_util::StreamExt as _;
use openflow_manager::runtime::{DockerConfig, DockerRuntime, Error, Runtime as _, RuntimeEvent};
use tokio::{
    net::{UnixListener, UnixStream},
    task::{JoinHandle, JoinSet},
};
use uuid::Uuid;

use crate::support::*;

/// Passes connections at `path` on to the engine until it is aborted.
fn engine_at(path: &Path) -> JoinHandle<()> {
    let listener = UnixListener::bind(path).unwrap();
    tokio::spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((mut client, _)) = listener.accept().await {
            connections.spawn(async move {
                let mut engine = UnixStream::connect("/var/run/docker.sock").await?;
                tokio::io::copy_bidirectional(&mut client, &mut engine).await
            });
        }
    })
}

fn runtime(socket: &Path, adjust: impl FnOnce(&mut DockerConfig)) -> DockerRuntime {
    let mut config = DockerConfig::new(Uuid::now_v7());
    config.host = format!("unix://{}", socket.display());
    config.network = "openflow-test".into();
    config.manage_firewall = false;
    adjust(&mut config);
    DockerRuntime::connect(config)
}

fn is_away<T: std::fmt::Debug>(result: Result<T, Error>) {
    assert!(matches!(result, Err(Error::Unavailable(_))), "{result:?}");
}

#[tokio::test]
async fn an_engine_that_comes_goes_and_comes_back_is_found_again() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("docker.sock");
    let runtime = runtime(&socket, |_| {});
    is_away(runtime.ping().await);
    is_away(runtime.list().await);
    is_away(runtime.ensure_network().await);
    is_away(runtime.events().await.map(drop));

    let engine = engine_at(&socket);
    runtime.ping().await.unwrap();
    assert_eq!(runtime.list().await.unwrap(), []);
    let mut events = runtime.events().await.unwrap();
    assert_eq!(events.next().await, Some(RuntimeEvent::Connected));

    let ending = tokio::spawn(async move { events.next().await });
    tokio::time::sleep(Duration::from_millis(300)).await;
    engine.abort();
    let _ = engine.await;
    assert_eq!(within("over", ending).await.unwrap(), None);
    is_away(runtime.ping().await);

    std::fs::remove_file(&socket).unwrap();
    let _engine = engine_at(&socket);
    runtime.ping().await.unwrap();
    assert!(runtime.events().await.is_ok());
}

#[tokio::test]
async fn an_engine_that_hangs_is_away_after_the_limit() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("docker.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let _hanging = tokio::spawn(async move {
        let mut connections = Vec::new();
        while let Ok(connection) = listener.accept().await {
            connections.push(connection);
        }
    });
    let runtime = runtime(&socket, |config| {
        config.timeouts.query = Duration::from_millis(200);
    });
    within("given up", async {
        is_away(runtime.ping().await);
        is_away(runtime.list().await);
        is_away(runtime.image("x").await);
    })
    .await;
}

#[tokio::test]
async fn a_socket_that_may_not_be_used_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let runtime = runtime(dir.path(), |_| {});
    let error = runtime.ping().await.unwrap_err();
    assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
    assert!(error.to_string().contains("Is Docker running?"), "{error}");
}
