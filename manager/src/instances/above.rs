//! What slices above need of an instance to copy its data and to make one for
//! data that is put back.
use serde_json::json;

use super::{Desired, Error, Instance, Instances, NewInstance, inside, service::Choices, store};
use crate::{
    audit,
    kernel::{Actor, InstanceId, ProjectId, Secret, StackId},
    stacks,
};

/// What has to go along with a copy of an instance's data.
#[derive(Clone, Debug)]
pub struct Origin {
    pub instance: Instance,
    /// Of its stack; empty when it is not known.
    pub engine_version: String,
    /// Names of its environment variables.
    pub env: Vec<String>,
    /// Encrypts the engine's own credentials file.
    pub credential_secret: Secret,
}

impl Instances {
    /// For background work. Fails with [`Error::NotFound`] also when the
    /// instance is being deleted.
    pub async fn origin(&self, id: InstanceId) -> Result<Origin, Error> {
        let mut tx = self.parts.db.begin_system().await?;
        let instance = store::get(&mut tx, id).await?.ok_or(Error::NotFound)?;
        if instance.desired == Desired::Absent {
            return Err(Error::NotFound);
        }
        let inside = inside::get(&mut tx, &self.parts.keys, id).await?;
        let stack = stacks::find(&mut tx, instance.stack).await?;
        Ok(Origin {
            engine_version: stack.version,
            env: inside.env.names().into_iter().map(Into::into).collect(),
            credential_secret: inside.keys.credential_secret,
            instance,
        })
    }

    /// Bytes that the data folder takes on disk.
    pub async fn data_bytes(&self, id: InstanceId) -> u64 {
        self.folders.size(id).await
    }

    /// A new instance with the defaults, from the stack or else the default one.
    pub async fn create_plain(
        &self,
        actor: &Actor,
        project: ProjectId,
        new: NewInstance,
        stack: Option<StackId>,
    ) -> Result<Instance, Error> {
        let choices = Choices {
            stack,
            ..Choices::default()
        };
        self.create(actor, project, new, choices).await
    }

    /// Takes back what [`Instances::create_plain`] made, since the data that it
    /// was made for did not come.
    pub async fn take_back(&self, id: InstanceId, actor: &'static str) -> Result<(), Error> {
        let mut tx = self.parts.db.begin_system().await?;
        store::lock(&mut tx, id).await?;
        let Some(mut it) = store::get(&mut tx, id).await? else {
            return Ok(());
        };
        it.desired = Desired::Absent;
        it.updated_at = self.now();
        store::update(&mut tx, &it).await?;
        let event = it.event(
            "instance.delete",
            json!({"why": "its backup was not restored"}),
        );
        audit::record(&mut tx, &Actor::System(actor), self.now(), event).await?;
        Ok(tx.commit().await?)
    }
}
