//! The driver of background jobs: period + wake-up, one at a time, no input.
use std::{sync::Arc, time::Duration};

use futures_util::FutureExt as _;
use tokio::sync::Notify;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::Instrument as _;

use crate::kernel::News;

/// An idempotent pass over the whole stored intent. It takes no input: what it
/// does depends on the database alone, so a missed wake-up or a restart costs
/// only time.
#[async_trait::async_trait]
pub trait Job: Send + Sync + 'static {
    const NAME: &'static str;
    const PERIOD: Duration;
    type Error: std::error::Error + Send;

    async fn run(&self) -> Result<(), Self::Error>;
}

/// Wakes one job before its period is over. Cheap to clone; never blocks.
#[derive(Clone, Default)]
pub struct Wake(Arc<Notify>);

impl Wake {
    pub fn now(&self) {
        self.0.notify_one();
    }

    /// Until somebody calls [`Wake::now`]; at once if somebody has since.
    pub async fn notified(&self) {
        self.0.notified().await;
    }
}

/// Runs the job until `stop`. A job that fails or panics is logged, once for
/// each reason, and run again after its period.
pub fn spawn<J: Job>(tracker: &TaskTracker, stop: CancellationToken, wake: Wake, job: J) {
    tracker.spawn(async move {
        let mut news = News::default();
        loop {
            let span = tracing::info_span!("job", job.name = J::NAME);
            let run = std::panic::AssertUnwindSafe(job.run().instrument(span)).catch_unwind();
            match run.await {
                Ok(Ok(())) => _ = news.over(),
                Ok(Err(error)) if !news.is(&error) => {}
                Ok(Err(error)) => {
                    tracing::warn!(job.name = J::NAME, %error, "job {} failed: {error}", J::NAME);
                }
                Err(_) => tracing::error!(job.name = J::NAME, "job {} panicked", J::NAME),
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = wake.notified() => {}
                () = tokio::time::sleep(J::PERIOD) => {}
            }
        }
    });
}
