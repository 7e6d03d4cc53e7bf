use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use sqlx::{PgPool, postgres::PgPoolOptions};
use tempfile::TempDir;
use tokio::{
    io::copy_bidirectional,
    net::{UnixListener, UnixStream},
    sync::Mutex,
    task::JoinSet,
};

/// A way to the database that a test can cut: connections break in the middle
/// and new ones are refused, as when PostgreSQL is killed.
pub(crate) struct Relay {
    folder: TempDir,
    target: PathBuf,
    server: Mutex<JoinSet<()>>,
}

impl Relay {
    /// To the database of `pool`, which is reached by a socket.
    pub(crate) async fn to(pool: &PgPool) -> Arc<Self> {
        let options = pool.connect_options();
        let folder = options.get_socket().unwrap();
        let relay = Arc::new(Self {
            folder: tempfile::tempdir().unwrap(),
            target: folder.join(".s.PGSQL.5432"),
            server: Mutex::default(),
        });
        relay.mend().await;
        relay
    }

    /// Connects through the relay.
    pub(crate) fn pool(&self, to: &PgPool) -> PgPool {
        let options = (*to.connect_options()).clone().socket(self.folder.path());
        PgPoolOptions::new()
            .max_connections(8)
            .acquire_timeout(Duration::from_secs(2))
            .connect_lazy_with(options)
    }

    /// Breaks all connections and refuses new ones.
    pub(crate) async fn cut(&self) {
        std::fs::remove_file(self.socket()).unwrap();
        self.server.lock().await.shutdown().await;
    }

    pub(crate) async fn mend(&self) {
        let listener = UnixListener::bind(self.socket()).unwrap();
        let target = self.target.clone();
        self.server.lock().await.spawn(serve(listener, target));
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join(".s.PGSQL.5432")
    }
}

async fn serve(listener: UnixListener, target: impl AsRef<Path>) {
    // Dropped with this task, and the connections with it.
    let mut connections = JoinSet::new();
    loop {
        let (mut near, _) = listener.accept().await.unwrap();
        let mut far = UnixStream::connect(&target).await.unwrap();
        connections.spawn(async move {
            let _ = copy_bidirectional(&mut near, &mut far).await; // cut
        });
    }
}
