//! Programs that run once have no network, and some of them need the database
//! all the same: a socket in the folder of their secrets leads to the server.
use std::{
    fs::{self, File, Permissions},
    io,
    os::{fd::AsRawFd as _, unix::fs::PermissionsExt as _},
    path::Path,
    sync::Arc,
    time::Duration,
};

use tokio::{
    io::copy_bidirectional,
    net::{TcpStream, UnixListener, UnixStream},
    sync::Semaphore,
    task::JoinSet,
    time::{sleep, timeout},
};

use super::SOCKET;

/// At the same time; more wait.
const CONNECTIONS_MAX: usize = 16;
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
const RETRY: Duration = Duration::from_millis(100);

/// Relays until it is dropped; the socket's file stays in the folder.
#[derive(Debug)]
pub struct Relay {
    _connections: JoinSet<()>,
}

impl Relay {
    /// `to` is the server's host and port. Fails when there is a socket already.
    pub(super) fn open(folder: &Path, to: (String, u16)) -> io::Result<Self> {
        let opened = File::open(folder)?;
        // The path itself may be longer than a socket's may be.
        let path = format!("/proc/self/fd/{}/{SOCKET}", opened.as_raw_fd());
        let listener = UnixListener::bind(&path)?;
        // Who may pass the folder may connect.
        fs::set_permissions(&path, Permissions::from_mode(0o666))?;
        let mut connections = JoinSet::new();
        connections.spawn(accept(listener, Arc::new(to)));
        Ok(Self {
            _connections: connections,
        })
    }
}

async fn accept(listener: UnixListener, to: Arc<(String, u16)>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut open = JoinSet::new();
    while let Ok(place) = places.clone().acquire_owned().await {
        while open.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((client, _)) => {
                let to = to.clone();
                open.spawn(async move {
                    let _place = place;
                    relay(client, &to).await;
                });
            }
            // No file descriptors left, mostly: some come free.
            Err(_) => sleep(RETRY).await,
        }
    }
}

/// Whatever goes wrong, the client sees its connection end.
async fn relay(mut client: UnixStream, to: &(String, u16)) {
    let connect = TcpStream::connect((to.0.as_str(), to.1));
    match timeout(CONNECT_LIMIT, connect).await {
        Ok(Ok(mut server)) => {
            let _ = server.set_nodelay(true);
            let _ = copy_bidirectional(&mut client, &mut server).await;
        }
        Ok(Err(error)) => {
            tracing::warn!(%error, "cannot relay to the instances' database server: {error}")
        }
        Err(_) => tracing::warn!(
            "cannot relay to the instances' database server: it does not answer in time"
        ),
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;

    #[tokio::test]
    async fn it_leads_there_and_back_until_it_is_dropped() {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = server.local_addr().unwrap().port();
        let echo = tokio::spawn(async move {
            let (mut client, _) = server.accept().await.unwrap();
            let mut text = [0; 5];
            client.read_exact(&mut text).await.unwrap();
            client.write_all(&text).await.unwrap();
            client.read(&mut text).await.unwrap()
        });
        let folder = tempfile::tempdir().unwrap();
        // Longer than a socket's path may be.
        let folder = folder.path().join("x".repeat(150));
        fs::create_dir(&folder).unwrap();
        let relay = Relay::open(&folder, ("127.0.0.1".to_owned(), port)).unwrap();
        let opened = File::open(&folder).unwrap();
        let path = format!("/proc/self/fd/{}/{SOCKET}", opened.as_raw_fd());
        let mut client = UnixStream::connect(&path).await.unwrap();
        client.write_all(b"hello").await.unwrap();
        let mut text = [0; 5];
        client.read_exact(&mut text).await.unwrap();
        assert_eq!(&text, b"hello");
        drop(relay);
        assert_eq!(client.read(&mut text).await.unwrap(), 0, "the client's end");
        assert_eq!(echo.await.unwrap(), 0, "the server's end");
        assert!(UnixStream::connect(&path).await.is_err());
    }
}
