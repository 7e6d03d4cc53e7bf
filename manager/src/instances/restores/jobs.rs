use std::{io, time::Duration};

use chrono::TimeDelta;

use super::{store, swap};
use crate::{
    instances::{Error, Instances},
    jobs::Job,
};

/// Far more than there is between two signs of life.
const SILENCE: TimeDelta = TimeDelta::minutes(2);
const GIVEN_UP: &str =
    "The manager was stopped while it prepared the restore. Nothing was changed; restore again.";

/// Gives up restores whose maker died, and removes the files that ended
/// restores left behind.
pub struct CleanUp(pub Instances);

#[async_trait::async_trait]
impl Job for CleanUp {
    const NAME: &'static str = "restores.clean_up";
    const PERIOD: Duration = Duration::from_secs(30);
    type Error = Error;

    async fn run(&self) -> Result<(), Error> {
        let it = &self.0;
        let now = it.now();
        let mut tx = it.parts.db.begin_system().await?;
        store::give_up(&mut tx, now - SILENCE, GIVEN_UP, now).await?;
        tx.commit().await?;
        let root = it.folders.root().to_path_buf();
        let left = blocking(move || swap::left_in(&root)).await?;
        for (id, folder) in left {
            let mut tx = it.parts.db.begin_system().await?;
            let open = store::is_open(&mut tx, id).await?;
            drop(tx);
            if !open {
                blocking(move || swap::remove(&folder)).await?;
            }
        }
        Ok(())
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(io::Error::other)
        .flatten()
        .map_err(|error| Error::DataFolder(error.to_string()))
}
