//! A broker for a test, and a small client that speaks MQTT 3.1.1 and 5 byte by byte.
#![expect(dead_code, reason = "each test uses a part")]
pub(crate) mod client;

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use openflow_broker::{
    Attempt, Authenticator, Broker, Connection, DropReason, Events, Grant, Limits, Refusal,
    Refused, RefusedReason, Settings, TopicRules, listen,
};
use tempfile::TempDir;
use tokio::{
    net::TcpListener,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

pub(crate) use client::{Client, Options, V4, V5};

pub(crate) const A: Uuid = Uuid::from_u128(0xa);
pub(crate) const B: Uuid = Uuid::from_u128(0xb);
/// Far longer than anything takes.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// Users whose password is `pw`. A name that begins with `a` is of tenant A, others are of B.
#[derive(Default)]
pub(crate) struct Users {
    pub(crate) rules: Mutex<HashMap<String, Arc<TopicRules>>>,
    pub(crate) removed: Mutex<Vec<String>>,
}

impl Authenticator for Users {
    fn authenticate(&self, attempt: &Attempt<'_>) -> Result<Grant, Refusal> {
        if attempt.username == "busy" {
            return Err(Refusal::Busy);
        }
        let removed = self.removed.lock().unwrap();
        if attempt.password != b"pw" || removed.iter().any(|name| name == attempt.username) {
            return Err(Refusal::BadCredentials);
        }
        let is_a = attempt.username.starts_with('a');
        Ok(Grant {
            tenant: if is_a { A } else { B },
            rules: self.rules.lock().unwrap().get(attempt.username).cloned(),
        })
    }
}

/// Keeps what it is told.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) connected: Mutex<Vec<Connection>>,
    pub(crate) disconnected: Mutex<Vec<(Connection, String)>>,
    pub(crate) dropped: Mutex<Vec<(Uuid, u64, DropReason)>>,
    pub(crate) refused: Mutex<Vec<(String, RefusedReason)>>,
}

impl Events for Seen {
    fn connected(&self, connection: &Connection) {
        self.connected.lock().unwrap().push(connection.clone());
    }

    fn disconnected(&self, connection: &Connection, reason: &str) {
        let seen = (connection.clone(), reason.to_owned());
        self.disconnected.lock().unwrap().push(seen);
    }

    fn dropped(&self, tenant: Uuid, count: u64, reason: DropReason) {
        self.dropped.lock().unwrap().push((tenant, count, reason));
    }

    fn refused(&self, refused: &Refused<'_>) {
        let seen = (refused.username.to_owned(), refused.reason);
        self.refused.lock().unwrap().push(seen);
    }
}

impl Seen {
    /// Waits for a user's connection to end, and tells why it did.
    pub(crate) async fn end_of(&self, username: &str) -> String {
        until(|| {
            let ends = self.disconnected.lock().unwrap();
            let mut ends = ends.iter();
            let end = ends.find(|(connection, _)| connection.username == username);
            end.map(|(_, reason)| reason.clone())
        })
        .await
    }
}

pub(crate) struct TestBroker {
    pub(crate) broker: Broker,
    pub(crate) address: SocketAddr,
    pub(crate) users: Arc<Users>,
    pub(crate) seen: Arc<Seen>,
    pub(crate) dir: Arc<TempDir>,
    pub(crate) limits: Limits,
    pub(crate) stop: CancellationToken,
}

impl TestBroker {
    pub(crate) async fn new() -> Self {
        Self::with(Limits::default()).await
    }

    pub(crate) async fn with(limits: Limits) -> Self {
        Self::in_dir(Arc::new(TempDir::new().unwrap()), limits).await
    }

    pub(crate) async fn in_dir(dir: Arc<TempDir>, limits: Limits) -> Self {
        let users = Arc::new(Users::default());
        let seen = Arc::new(Seen::default());
        let settings = Settings {
            dir: dir.path().to_owned(),
            limits: limits.clone(),
        };
        let events: Arc<dyn Events> = seen.clone();
        let broker = Broker::open(settings, users.clone(), events).await.unwrap();
        let (stop, listener) = (CancellationToken::new(), bind().await);
        let address = listener.local_addr().unwrap();
        tokio::spawn(listen::tcp(listener, broker.clone(), stop.clone()));
        Self {
            broker,
            address,
            users,
            seen,
            dir,
            limits,
            stop,
        }
    }

    pub(crate) async fn restart(self) -> Self {
        let (dir, limits) = (self.dir.clone(), self.limits.clone());
        self.stop.cancel();
        self.broker.shutdown().await;
        Self::in_dir(dir, limits).await
    }

    /// A clean session of a user with a client id.
    pub(crate) async fn client(&self, version: u8, username: &str, id: &str) -> Client {
        self.client_with(Options::new(version, username, id)).await
    }

    pub(crate) async fn client_with(&self, options: Options) -> Client {
        let (client, code) = Client::connect(self.address, options).await;
        assert_eq!(code, 0, "the broker refused");
        client.unwrap()
    }

    /// The code of a refused CONNECT.
    pub(crate) async fn refusal(&self, options: Options) -> u8 {
        Client::connect(self.address, options).await.1
    }
}

pub(crate) async fn bind() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

/// Asks until there is an answer.
pub(crate) async fn until<T>(mut ask: impl FnMut() -> Option<T>) -> T {
    let asking = async {
        loop {
            if let Some(answer) = ask() {
                return answer;
            }
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(DEADLINE, asking).await.expect("it never happened")
}
