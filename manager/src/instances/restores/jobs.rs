use std::time::Duration;

use chrono::TimeDelta;
use openflow_archive::remove_tree;

use super::{store, swap};
use crate::{
    instances::{Error, Instances, rehearsal::blocking},
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
        let before = it.now() - SILENCE;
        let mut tx = it.parts.db.begin_system().await?;
        let silent = store::silent(&mut tx, before).await?;
        drop(tx);
        for restore in silent {
            if let Err(error) = it.give_up_restore(&restore, before, GIVEN_UP).await {
                tracing::warn!(%error, "cannot give up restore {}: {error}", restore.id);
            }
        }
        let root = it.folders.root().to_path_buf();
        let left = blocking(move || swap::left_in(&root)).await?;
        for (id, folder) in left {
            let mut tx = it.parts.db.begin_system().await?;
            let open = store::is_open(&mut tx, id).await?;
            drop(tx);
            if open {
                continue;
            }
            // One that cannot be removed does not keep the others.
            if let Err(error) = blocking(move || remove_tree(&folder)).await {
                tracing::warn!(%error, "cannot remove the files of restore {id}: {error}");
            }
        }
        Ok(())
    }
}
