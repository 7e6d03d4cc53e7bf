//! What slices above need of an instance to copy its data.
use super::{Desired, Error, Instance, Instances, inside, store};
use crate::{
    kernel::{InstanceId, Secret},
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
}
