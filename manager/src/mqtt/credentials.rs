use std::{collections::HashMap, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use tokio_util::sync::CancellationToken;

use super::{
    ConnectAttempt, Verdict,
    model::{self, Credential},
    store,
};
use crate::db::{Change, Changes, Db, Topic};

const AFTER_ERROR: Duration = Duration::from_millis(500);
const PERIOD: Duration = Duration::from_secs(30);

/// All credentials, in memory: a CONNECT is answered without asking anybody.
#[derive(Clone)]
pub struct Credentials {
    db: Db,
    known: Arc<ArcSwap<HashMap<String, Credential>>>,
}

impl Credentials {
    pub fn new(db: Db) -> Self {
        Self {
            db,
            known: Arc::default(),
        }
    }

    /// Keeps them current until `stop`: within moments of a change, whichever
    /// manager made it.
    pub async fn run(self, changes: Changes, stop: CancellationToken) {
        let mut changes = changes.subscribe();
        loop {
            let loaded = self.load().await;
            if let Err(error) = &loaded {
                tracing::warn!(%error, "cannot load the broker's credentials: {error}");
            }
            let pause = if loaded.is_ok() { PERIOD } else { AFTER_ERROR };
            let concerning = async {
                loop {
                    match changes.next().await {
                        Some(
                            Change::All
                            | Change::Row {
                                topic: Topic::Intent | Topic::Instance,
                                ..
                            },
                        )
                        | None => return,
                        Some(Change::Row { .. }) => {}
                    }
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
                () = concerning => while changes.try_next().is_some() {},
            }
        }
    }

    async fn load(&self) -> sqlx::Result<()> {
        let mut tx = self.db.begin_system().await?;
        let known = store::credentials(&mut tx).await?;
        if known != **self.known.load() {
            self.known.store(Arc::new(known));
        }
        Ok(())
    }

    pub fn judge(&self, attempt: &ConnectAttempt<'_>) -> Verdict {
        model::judge(&self.known.load(), attempt)
    }
}
