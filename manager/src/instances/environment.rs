//! An instance's environment variables.
use serde_json::json;
use sqlx::PgConnection;

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

    /// Its variables, in a transaction that has found that the instance is
    /// there.
    pub async fn env_of(&self, tx: &mut PgConnection, id: InstanceId) -> Result<Env, Error> {
        inside::env(tx, &self.parts.keys, id).await
    }

    /// Sets the variables that the instance lacks, and says which those were;
    /// they take effect with the next start.
    pub async fn add_env(
        &self,
        actor: &Actor,
        id: InstanceId,
        vars: Vec<EnvVar>,
    ) -> Result<Vec<String>, Error> {
        let (mut tx, it) = self.open_live(actor, id).await?;
        let stored = inside::env(&mut tx, &self.parts.keys, id).await?;
        let is_new = |var: &EnvVar| stored.get(&var.name).is_none();
        let new: Vec<EnvVar> = vars.into_iter().filter(is_new).collect();
        let names: Vec<String> = new.iter().map(|it| it.name.clone()).collect();
        if new.is_empty() {
            return Ok(names);
        }
        let env = Env::parse([stored.shown(), new].concat(), &stored)?;
        inside::set_env(&mut tx, &self.parts.keys, id, &env).await?;
        let detail = json!({"env": env.names(), "added": names});
        audit::record(&mut tx, actor, self.now(), it.event("instance.env", detail)).await?;
        tx.commit().await?;
        Ok(names)
    }
}
