//! An instance's environment variables.
use serde_json::json;

use super::{Error, Instances, inside};
use crate::{
    audit,
    identity::Role,
    kernel::{Actor, InstanceId},
    stacks::{Env, EnvVar},
};

impl Instances {
    pub(super) async fn env(&self, actor: &Actor, id: InstanceId) -> Result<Env, Error> {
        let (mut tx, _) = self.open(actor, id, Role::Viewer).await?;
        inside::env(&mut tx, &self.parts.keys, id).await
    }

    /// Replaces the environment; it takes effect with the next restart.
    pub(super) async fn set_env(
        &self,
        actor: &Actor,
        id: InstanceId,
        vars: Vec<EnvVar>,
    ) -> Result<Env, Error> {
        let (mut tx, it) = self.open_live(actor, id).await?;
        let stored = inside::env(&mut tx, &self.parts.keys, id).await?;
        let env = Env::parse(vars, &stored)?;
        if env != stored {
            inside::set_env(&mut tx, &self.parts.keys, id, &env).await?;
            audit::record(
                &mut tx,
                actor,
                self.now(),
                it.event("instance.env", json!({"env": env.names()})),
            )
            .await?;
            tx.commit().await?;
        }
        Ok(env)
    }
}
