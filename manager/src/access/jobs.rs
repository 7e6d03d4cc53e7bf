use std::time::Duration;

use super::{Access, store};
use crate::jobs::Job;

/// Removes expired access tokens and editor sessions.
pub struct Purge(pub Access);

#[async_trait::async_trait]
impl Job for Purge {
    const NAME: &'static str = "access.purge";
    const PERIOD: Duration = Duration::from_secs(300);
    type Error = sqlx::Error;

    async fn run(&self) -> Result<(), sqlx::Error> {
        let mut tx = self.0.db.begin_system().await?;
        let removed = store::purge(&mut tx, self.0.clock.now()).await?;
        tx.commit().await?;
        if removed > 0 {
            tracing::debug!(
                removed,
                "removed {removed} expired tokens and editor sessions"
            );
        }
        Ok(())
    }
}
