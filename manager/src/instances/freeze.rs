//! Holding a running instance still for a moment, so that its files can be
//! copied. The row says until when: a manager that is killed meanwhile leaves
//! no instance frozen.
use std::time::Duration;

use chrono::TimeDelta;

use super::{Error, Instances, store};
use crate::{kernel::InstanceId, runtime::ContainerState};

/// Between two looks whether somebody else's copy is made.
const TURN: Duration = Duration::from_millis(250);
/// Nobody holds an instance still for so long.
const TURNS_MAX: u32 = 120;

impl Instances {
    /// Freezes the running container until [`Instances::thaw`], but no longer
    /// than `limit`; after somebody else who does so now. `false` when there
    /// is nothing to freeze: it does not run, or is on its way up or down.
    pub async fn freeze(&self, id: InstanceId, limit: Duration) -> Result<bool, Error> {
        for _ in 0..TURNS_MAX {
            match self.state(id).await? {
                Some(ContainerState::Running) if self.take_turn(id, limit).await? => {
                    if let Err(error) = self.parts.runtime.pause(id).await {
                        self.give_turn(id).await?;
                        return Err(error.into());
                    }
                    return Ok(true);
                }
                Some(ContainerState::Running | ContainerState::Paused) => {
                    tokio::time::sleep(TURN).await;
                }
                _ => return Ok(false),
            }
        }
        Err(Error::Frozen)
    }

    /// Lets go on what [`Instances::freeze`] froze. `true` when it was frozen
    /// all the while.
    pub async fn thaw(&self, id: InstanceId) -> Result<bool, Error> {
        let thawed = self.let_go(id).await;
        // Also when the engine is away: the reconciler lets it go on as soon as
        // it is back.
        self.give_turn(id).await?;
        thawed
    }

    async fn let_go(&self, id: InstanceId) -> Result<bool, Error> {
        let still = self.state(id).await? == Some(ContainerState::Paused);
        if still {
            self.parts.runtime.unpause(id).await?;
        }
        Ok(still)
    }

    /// Whether its processes may write: a stopped one does not.
    pub async fn is_up(&self, id: InstanceId) -> Result<bool, Error> {
        let up = [
            ContainerState::Running,
            ContainerState::Paused,
            ContainerState::Restarting,
        ];
        Ok(self.state(id).await?.is_some_and(|it| up.contains(&it)))
    }

    async fn state(&self, id: InstanceId) -> Result<Option<ContainerState>, Error> {
        let observed = self.parts.runtime.observe(id).await?;
        Ok(observed.map(|it| it.state))
    }

    async fn take_turn(&self, id: InstanceId, limit: Duration) -> Result<bool, Error> {
        let now = self.now();
        let until = now + TimeDelta::from_std(limit).unwrap_or(TimeDelta::minutes(1));
        let mut tx = self.parts.db.begin_system().await?;
        let taken = store::freeze(&mut tx, id, until, now).await?;
        tx.commit().await?;
        Ok(taken)
    }

    async fn give_turn(&self, id: InstanceId) -> Result<(), Error> {
        let mut tx = self.parts.db.begin_system().await?;
        store::thaw(&mut tx, id).await?;
        Ok(tx.commit().await?)
    }
}
