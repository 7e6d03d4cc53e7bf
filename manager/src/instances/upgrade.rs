//! What is done before an instance gets another stack.
use std::sync::Arc;

use super::{Error, Instances};
use crate::{
    kernel::{Actor, InstanceId, StackId},
    stacks,
};

/// A slice above keeps what there is. It never hinders the upgrade: that may
/// be what repairs the instance.
#[async_trait::async_trait]
pub trait BeforeUpgrade: Send + Sync + 'static {
    /// `to` is the new stack's name.
    async fn before_upgrade(&self, id: InstanceId, to: &str);
}

impl Instances {
    /// The same, telling `who` of upgrades that people ask for.
    pub fn telling(self, who: Arc<dyn BeforeUpgrade>) -> Self {
        Self {
            before_upgrade: Some(who),
            ..self
        }
    }

    pub(super) async fn announce_upgrade(
        &self,
        actor: &Actor,
        id: InstanceId,
        to: StackId,
    ) -> Result<(), Error> {
        let Some(who) = &self.before_upgrade else {
            return Ok(());
        };
        let (mut tx, it) = self.open_live(actor, id).await?;
        let stack = stacks::pick_ready(&mut tx, stacks::Pick::Named(to)).await?;
        drop(tx);
        if stack.engine == it.engine && stack.id != it.stack {
            who.before_upgrade(id, &stack.name).await;
        }
        Ok(())
    }
}
