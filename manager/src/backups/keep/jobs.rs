use std::time::Duration;

use super::store;
use crate::{
    backups::{Backups, Error, rehearse},
    jobs::Job,
};

/// Keeps the metrics of backups current, in every manager.
pub struct Measure(pub Backups);

#[async_trait::async_trait]
impl Job for Measure {
    const NAME: &'static str = "backups.measure";
    const PERIOD: Duration = Duration::from_secs(15);
    type Error = Error;

    async fn run(&self) -> Result<(), Error> {
        let it = &self.0;
        let mut tx = it.parts.db.begin_system().await?;
        let figures = store::figures(&mut tx, it.now()).await?;
        let verified = rehearse::store::figures(&mut tx, it.now()).await?;
        drop(tx);
        for (status, n) in figures.counts {
            metrics::gauge!("openflow_backups", "status" => status.as_str()).set(n as f64);
        }
        metrics::gauge!("openflow_backup_last_good_age_seconds").set(figures.oldest_good_seconds);
        for (status, n) in verified.counts {
            metrics::gauge!("openflow_backup_verifications", "status" => status.as_str())
                .set(n as f64);
        }
        metrics::gauge!("openflow_backup_verified_age_seconds").set(verified.oldest_seconds);
        metrics::gauge!("openflow_backup_bytes").set(figures.bytes as f64);
        Ok(())
    }
}
