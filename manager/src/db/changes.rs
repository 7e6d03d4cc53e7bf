use std::time::Duration;

use sqlx::postgres::PgListener;
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::Db;
use crate::kernel::News;

const CHANNEL: &str = "openflow";
/// A subscriber that is this far behind is told to look at everything.
const BACKLOG: usize = 1024;
const RECONNECT_PAUSE: Duration = Duration::from_millis(500);

/// What a committed transaction of any manager changed. The triggers of the
/// migrations say which columns count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Row {
        topic: Topic,
        id: Uuid,
    },
    /// Notices may have been missed: look at everything.
    All,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topic {
    /// What an instance should be; the id is the instance's.
    Intent,
    /// What people, proxy and broker see of an instance.
    Instance,
    /// Membership, administrators, revoked editor sessions.
    Access,
    Project,
    Stack,
    /// A device's credentials; the id is the MQTT client's.
    Mqtt,
    /// The id is the backup's.
    Backup,
}

/// Tells subscribers of this process about changes.
#[derive(Clone)]
pub struct Changes {
    sender: broadcast::Sender<Change>,
}

impl Changes {
    pub fn new() -> Self {
        Self {
            sender: broadcast::Sender::new(BACKLOG),
        }
    }

    pub fn subscribe(&self) -> ChangeReceiver {
        ChangeReceiver(self.sender.subscribe())
    }

    /// Follows the database's notices until `stop`. After every (re)connection
    /// subscribers get [`Change::All`], since notices are not kept for those
    /// who were away.
    pub async fn follow(&self, db: &Db, stop: CancellationToken) {
        let mut news = News::default();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                result = self.listen(db, &mut news) => match result {
                    Err(error) if news.is(&error) => {
                        tracing::warn!(%error, "lost the database's change notices, reconnecting: {error}");
                    }
                    _ => {}
                },
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(RECONNECT_PAUSE) => {}
            }
        }
    }

    async fn listen(&self, db: &Db, news: &mut News) -> sqlx::Result<()> {
        let mut listener = PgListener::connect_with(db.pool()).await?;
        listener.eager_reconnect(false);
        listener.listen(CHANNEL).await?;
        news.over();
        let _ = self.sender.send(Change::All); // no subscriber is fine
        while let Some(notice) = listener.try_recv().await? {
            match parse(notice.payload()) {
                Some(change) => _ = self.sender.send(change),
                None => tracing::warn!(payload = notice.payload(), "unknown change notice"),
            }
        }
        Ok(())
    }
}

impl Default for Changes {
    fn default() -> Self {
        Self::new()
    }
}

/// One subscriber's end.
pub struct ChangeReceiver(broadcast::Receiver<Change>);

impl ChangeReceiver {
    /// The next change; a subscriber that fell behind gets [`Change::All`].
    /// `None` when the process is shutting down.
    pub async fn next(&mut self) -> Option<Change> {
        match self.0.recv().await {
            Ok(change) => Some(change),
            Err(broadcast::error::RecvError::Lagged(_)) => Some(Change::All),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}

impl ChangeReceiver {
    /// A change that is there already; `None` when there is none.
    pub fn try_next(&mut self) -> Option<Change> {
        match self.0.try_recv() {
            Ok(change) => Some(change),
            Err(broadcast::error::TryRecvError::Lagged(_)) => Some(Change::All),
            Err(_) => None,
        }
    }
}

fn parse(payload: &str) -> Option<Change> {
    let (topic, id) = payload.split_once(':')?;
    let topic = match topic {
        "intent" => Topic::Intent,
        "instance" => Topic::Instance,
        "access" => Topic::Access,
        "project" => Topic::Project,
        "stack" => Topic::Stack,
        "mqtt" => Topic::Mqtt,
        "backup" => Topic::Backup,
        _ => return None,
    };
    Some(Change::Row {
        topic,
        id: id.parse().ok()?,
    })
}
