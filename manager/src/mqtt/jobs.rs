use std::{sync::Arc, time::Duration};

use chrono::TimeDelta;

use super::{
    BrokerError, SharedBroker,
    store::{self, PendingPurge},
};
use crate::{db::Db, jobs::Job, kernel::Clock};

/// How much one pass takes on; the next one goes on.
const BATCH: i64 = 20;
const TIMEOUT: Duration = Duration::from_secs(30);
const RETRY_SECONDS_MAX: i64 = 3600;

/// Lets the broker forget deleted projects. A project's row is gone by then:
/// nobody connects to it any more.
pub(super) struct Purge {
    pub(super) db: Db,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) broker: SharedBroker,
}

#[async_trait::async_trait]
impl Job for Purge {
    const NAME: &'static str = "mqtt.purge";
    const PERIOD: Duration = Duration::from_secs(5);
    type Error = sqlx::Error;

    async fn run(&self) -> sqlx::Result<()> {
        let mut tx = self.db.begin_system().await?;
        let due = store::due_purges(&mut tx, self.clock.now(), BATCH).await?;
        drop(tx);
        for it in due {
            let asked = tokio::time::timeout(TIMEOUT, self.broker.purge(it.project)).await;
            let result = asked
                .unwrap_or_else(|_| Err(BrokerError::Unavailable("no answer in time".to_owned())));
            self.note(&it, result).await?;
        }
        Ok(())
    }
}

impl Purge {
    async fn note(&self, it: &PendingPurge, result: Result<(), BrokerError>) -> sqlx::Result<()> {
        let mut tx = self.db.begin_system().await?;
        match result {
            Ok(()) => store::purged(&mut tx, it.project).await?,
            Err(error) => {
                let seconds = 5 << it.attempts.clamp(0, 10);
                let seconds = RETRY_SECONDS_MAX.min(seconds);
                let project = it.project;
                tracing::warn!(
                    project.id = %project, %error,
                    "the MQTT broker still keeps data of the deleted project {project}; next try in {seconds} s: {error}"
                );
                let retry_at = self.clock.now() + TimeDelta::seconds(seconds);
                store::purge_failed(&mut tx, it, retry_at).await?;
            }
        }
        tx.commit().await
    }
}
