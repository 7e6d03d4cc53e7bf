use std::{collections::HashMap, time::Duration};

use chrono::{DateTime, Utc};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{Entry, Event, sink, store};
use crate::db::Db;

const BATCH: usize = 500;
/// Between batches: events that come in a bunch are written at once.
const PAUSE: Duration = Duration::from_millis(50);
const TRIES: u32 = 3;
const AFTER_ERROR: Duration = Duration::from_secs(1);

/// Writes down what the sink took, in batches.
pub(in crate::mqtt) struct EventWriter {
    db: Db,
    receiver: mpsc::Receiver<Entry>,
}

impl EventWriter {
    pub(super) fn new(db: Db, receiver: mpsc::Receiver<Entry>) -> Self {
        Self { db, receiver }
    }

    /// Until `stop`; what was told before is written still.
    pub(in crate::mqtt) async fn run(mut self, stop: CancellationToken) {
        let mut batch = Vec::new();
        loop {
            let stopping = tokio::select! {
                n = self.receiver.recv_many(&mut batch, BATCH) => n == 0,
                () = stop.cancelled() => true,
            };
            if stopping {
                self.receiver.close();
                while self.receiver.recv_many(&mut batch, BATCH).await > 0 {
                    self.write(&mut batch, 1).await;
                }
                return;
            }
            self.write(&mut batch, TRIES).await;
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(PAUSE) => {}
            }
        }
    }

    async fn write(&self, batch: &mut Vec<Entry>, tries: u32) {
        let (mut events, mut seen) = (Vec::new(), HashMap::new());
        for entry in batch.drain(..) {
            match entry {
                Entry::Event(event) => events.push(event),
                Entry::Seen { client, at } => _ = seen.insert(client, at),
            }
        }
        for attempt in 1..=tries {
            match self.try_write(&events, &seen).await {
                Ok(()) => return,
                Err(error) if attempt == tries => {
                    tracing::warn!(%error, "{} MQTT events were not written: {error}", events.len());
                    events.iter().for_each(|_| sink::lost("database"));
                }
                // A project may have been deleted in this moment, too.
                Err(_) => tokio::time::sleep(AFTER_ERROR).await,
            }
        }
    }

    async fn try_write(
        &self,
        events: &[Event],
        seen: &HashMap<Uuid, DateTime<Utc>>,
    ) -> sqlx::Result<()> {
        let mut tx = self.db.begin_system().await?;
        if !events.is_empty() {
            store::insert(&mut tx, events).await?;
            store::trim(&mut tx, events).await?;
        }
        if !seen.is_empty() {
            store::saw(&mut tx, seen).await?;
        }
        tx.commit().await
    }
}
