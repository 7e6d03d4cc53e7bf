//! Aliases: further names of an instance. Through the proxy they work at once.
use serde_json::json;

use super::{Error, Hostname, Instance, Instances, Routing, store};
use crate::{
    audit,
    identity::Role,
    kernel::{Actor, InstanceId},
};

const ALIASES_MAX: usize = 20;

impl Instances {
    pub(super) async fn aliases(&self, actor: &Actor, id: InstanceId) -> Result<Instance, Error> {
        Ok(self.open(actor, id, Role::Viewer).await?.1)
    }

    pub(super) async fn add_alias(
        &self,
        actor: &Actor,
        id: InstanceId,
        name: &str,
    ) -> Result<(Instance, Hostname), Error> {
        let name = Hostname::parse(name, "name")?;
        let (mut tx, mut it) = self.open_live(actor, id).await?;
        if ALIASES_MAX <= it.aliases.len() {
            return Err(Error::TooManyAliases(ALIASES_MAX as i64));
        }
        store::insert_hostname(&mut tx, &it, &name, "alias", "name").await?;
        it.aliases.push(name.clone());
        audit::record(
            &mut tx,
            actor,
            self.now(),
            it.event("instance.alias_add", json!({"alias": name.as_str()})),
        )
        .await?;
        tx.commit().await?;
        Ok((it, name))
    }

    pub(super) async fn delete_alias(
        &self,
        actor: &Actor,
        id: InstanceId,
        name: &str,
    ) -> Result<(), Error> {
        let (mut tx, it) = self.open_live(actor, id).await?;
        if !store::delete_alias(&mut tx, id, name).await? {
            return Err(Error::AliasNotFound);
        }
        audit::record(
            &mut tx,
            actor,
            self.now(),
            it.event("instance.alias_delete", json!({"alias": name})),
        )
        .await?;
        tx.commit().await?;
        Ok(())
    }

    /// Whether a name that was just given needs a restart to lead anywhere.
    pub(super) fn alias_needs_restart(&self) -> bool {
        self.parts.settings.routing == Routing::Nginx
    }
}
