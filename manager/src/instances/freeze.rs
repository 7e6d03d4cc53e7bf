//! Holding a running instance still for a moment, so that its files can be
//! copied. The row says until when: a manager that is killed meanwhile leaves
//! no instance frozen.
use std::time::Duration;

use chrono::TimeDelta;

use super::{Error, Instances, store};
use crate::{kernel::InstanceId, runtime::ContainerState};

impl Instances {
    /// Freezes the running container until [`Instances::thaw`], but no longer
    /// than `limit`. `false` when there is nothing to freeze: it does not run,
    /// or is on its way up or down.
    pub async fn freeze(&self, id: InstanceId, limit: Duration) -> Result<bool, Error> {
        let runtime = &self.parts.runtime;
        if !self.is_in_state(id, ContainerState::Running).await? {
            return Ok(false);
        }
        let limit = TimeDelta::from_std(limit).unwrap_or(TimeDelta::MAX);
        self.set_frozen(id, Some(limit)).await?;
        if let Err(error) = runtime.pause(id).await {
            self.set_frozen(id, None).await?;
            return Err(error.into());
        }
        Ok(true)
    }

    /// Lets it go on. `true` when it was frozen all the while.
    pub async fn thaw(&self, id: InstanceId) -> Result<bool, Error> {
        let still = self.is_in_state(id, ContainerState::Paused).await?;
        if still {
            self.parts.runtime.unpause(id).await?;
        }
        self.set_frozen(id, None).await?;
        Ok(still)
    }

    async fn is_in_state(&self, id: InstanceId, state: ContainerState) -> Result<bool, Error> {
        let observed = self.parts.runtime.observe(id).await?;
        Ok(observed.is_some_and(|it| it.state == state))
    }

    async fn set_frozen(&self, id: InstanceId, limit: Option<TimeDelta>) -> Result<(), Error> {
        let until = limit.map(|it| self.now() + it);
        let mut tx = self.parts.db.begin_system().await?;
        store::set_frozen(&mut tx, id, until).await?;
        Ok(tx.commit().await?)
    }
}
