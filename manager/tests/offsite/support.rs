use std::{
    io::Write as _,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use async_trait::async_trait;
use clap::{Args as _, FromArgMatches as _};
use openflow_manager::{
    config::OffsiteConfig,
    offsite::{Error, Offsite, UploadState, Watch},
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, tcp::OwnedReadHalf, tcp::OwnedWriteHalf},
    task::JoinSet,
};
use uuid::Uuid;

pub(crate) const MIB: usize = 1 << 20;
const PATIENCE: Duration = Duration::from_millis(500);

/// Address of the S3 server that all tests share.
pub(crate) fn server() -> SocketAddr {
    static URL: OnceLock<String> = OnceLock::new();
    let url = URL.get_or_init(|| {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/test-s3.sh");
        let output = Command::new(script).output().unwrap();
        let words = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{words}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    });
    url.strip_prefix("http://").unwrap().parse().unwrap()
}

/// A bucket of its own, and a folder for files.
pub(crate) struct Bucket {
    pub(crate) name: String,
    folder: TempDir,
}

impl Bucket {
    pub(crate) async fn new() -> Self {
        let name = format!("test-{}", Uuid::new_v4());
        let made = request("PUT", &format!("/{name}")).await;
        assert!(made.starts_with("HTTP/1.1 200"), "{made}");
        Self {
            name,
            folder: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn offsite(&self) -> Offsite {
        self.through(server(), &[])
    }

    /// Reached at `address`, with more settings.
    pub(crate) fn through(&self, address: SocketAddr, more: &[&str]) -> Offsite {
        let url = format!("--offsite-url=s3://{}/some/folder", self.name);
        offsite(address, &url, more)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A file of that many bytes that no part of repeats.
    pub(crate) fn file(&self, name: &str, bytes: usize) -> PathBuf {
        let path = self.path(name);
        let mut out = std::io::BufWriter::new(std::fs::File::create(&path).unwrap());
        let mut left = bytes;
        let mut state = 0x9e37_79b9_7f4a_7c15_u64 ^ bytes as u64;
        while 0 < left {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let word = state.to_be_bytes();
            let n = left.min(8);
            out.write_all(&word[..n]).unwrap();
            left -= n;
        }
        out.flush().unwrap();
        path
    }

    /// Names of uploads that were begun and neither completed nor given up.
    pub(crate) async fn open_uploads(&self) -> usize {
        let listed = request("GET", &format!("/{}?uploads", self.name)).await;
        assert!(listed.starts_with("HTTP/1.1 200"), "{listed}");
        listed.matches("<UploadId>").count()
    }
}

pub(crate) fn offsite(address: SocketAddr, url: &str, more: &[&str]) -> Offsite {
    let endpoint = format!("--offsite-endpoint=http://{address}");
    let mut args = vec![
        url,
        &endpoint,
        "--offsite-access-key=key",
        "--offsite-secret-key=s",
    ];
    args.extend(more);
    let command = OffsiteConfig::augment_args(clap::Command::new("test")).no_binary_name(true);
    let config = OffsiteConfig::from_arg_matches(&command.try_get_matches_from(args).unwrap());
    let made = Offsite::with_patience(&config.unwrap(), PATIENCE);
    made.unwrap().unwrap()
}

/// Without a signature, which the server does not ask for.
async fn request(method: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(server()).await.unwrap();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: {}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
        server()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

/// Keeps what it is told, as the database would.
#[derive(Default)]
pub(crate) struct Kept {
    pub(crate) states: Vec<UploadState>,
    /// The `nth` (from 1) state ends the upload, as a manager that stops does.
    pub(crate) stop_at: Option<usize>,
}

impl Kept {
    /// As it comes back from the database.
    pub(crate) fn last(&self) -> Option<UploadState> {
        let json = serde_json::to_string(self.states.last()?).unwrap();
        Some(serde_json::from_str(&json).unwrap())
    }
}

#[async_trait]
impl Watch for Kept {
    async fn advanced(&mut self, state: &UploadState) -> Result<(), Error> {
        self.states.push(state.clone());
        match self.stop_at == Some(self.states.len()) {
            true => Err(Error::Stopped),
            false => Ok(()),
        }
    }
}

/// A way to the server that breaks after so many bytes to it: connections are
/// cut in the middle and new ones are refused at once.
pub(crate) struct Relay {
    pub(crate) address: SocketAddr,
    /// Set to the limit, nothing passes any more.
    pub(crate) passed: Arc<AtomicU64>,
    _server: JoinSet<()>,
}

impl Relay {
    pub(crate) async fn cut_after(bytes: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let passed = Arc::new(AtomicU64::new(0));
        let mut tasks = JoinSet::new();
        tasks.spawn(relay(listener, passed.clone(), bytes));
        Self {
            address,
            passed,
            _server: tasks,
        }
    }

    /// Bytes that went to the server.
    pub(crate) fn passed(&self) -> u64 {
        self.passed.load(SeqCst)
    }
}

async fn relay(listener: TcpListener, passed: Arc<AtomicU64>, limit: u64) {
    let mut connections = JoinSet::new();
    loop {
        let (near, _) = listener.accept().await.unwrap();
        if limit <= passed.load(SeqCst) {
            continue; // and hang up
        }
        let far = TcpStream::connect(server()).await.unwrap();
        let (near_in, mut near_out) = near.into_split();
        let (mut far_in, far_out) = far.into_split();
        let passed = passed.clone();
        connections.spawn(async move {
            tokio::select! {
                () = forward(near_in, far_out, &passed, limit) => {}
                _ = tokio::io::copy(&mut far_in, &mut near_out) => {}
            }
        });
    }
}

async fn forward(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, passed: &AtomicU64, limit: u64) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(n @ 1..) = from.read(&mut buffer).await {
        let add = |it: u64| Some(it.saturating_add(n as u64));
        let before = passed.fetch_update(SeqCst, SeqCst, add).unwrap_or(limit);
        if limit <= before || limit < before.saturating_add(n as u64) {
            return;
        }
        if to.write_all(&buffer[..n]).await.is_err() {
            return;
        }
    }
}

/// A way to the server that knows nothing of one upload, as a store that has
/// cleaned it away. (The server of the tests has no answer for that.)
pub(crate) async fn forgetting(upload: &str) -> SocketAddr {
    const GONE: &str = "<Error><Code>NoSuchUpload</Code><Message>Words.</Message></Error>";
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let query = format!("uploadId={upload}");
    tokio::spawn(async move {
        loop {
            let (mut near, _) = listener.accept().await.unwrap();
            let query = query.clone();
            tokio::spawn(async move {
                let mut head = vec![0; 64 << 10];
                let n = near.read(&mut head).await.unwrap_or(0);
                if String::from_utf8_lossy(&head[..n]).contains(&query) {
                    let length = GONE.len();
                    let answer = format!(
                        "HTTP/1.1 404 Not Found\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{GONE}"
                    );
                    let _ = near.write_all(answer.as_bytes()).await;
                    let _ = near.shutdown().await;
                    // Read on, or the answer is lost with a reset.
                    while matches!(near.read(&mut head).await, Ok(1..)) {}
                    return;
                }
                let mut far = TcpStream::connect(server()).await.unwrap();
                far.write_all(&head[..n]).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
            });
        }
    });
    address
}
