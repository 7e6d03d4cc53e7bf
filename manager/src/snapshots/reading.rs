//! What an instance is now, read from its data folder. It runs on meanwhile.
use super::{
    Error, Snapshots,
    model::{Content, Digests, Flows, digests},
};
use crate::{
    engines::{Credentials, ReadError},
    identity::Role,
    instances::Instance,
    kernel::{Actor, InstanceId},
    stacks::{self, EnvVar},
};

/// What the database says of an instance.
#[derive(Clone, Debug)]
pub(super) struct Outline {
    pub(super) instance: Instance,
    pub(super) engine_version: String,
    /// Secret ones without a value.
    pub(super) env: Vec<EnvVar>,
}

/// What a snapshot is made of.
pub(super) struct State {
    pub(super) content: Content,
    /// In the open. An error when they cannot be decrypted; the content's
    /// digests are empty then.
    pub(super) credentials: Result<Credentials, Error>,
}

impl Snapshots {
    /// The instance, for somebody who has at least that role.
    pub(super) async fn outline(
        &self,
        actor: &Actor,
        id: InstanceId,
        role: Role,
    ) -> Result<Outline, Error> {
        let instances = &self.parts.instances;
        let (mut tx, instance) = match role {
            Role::Viewer => instances.open(actor, id, role).await?,
            Role::Member | Role::Owner => instances.open_live(actor, id).await?,
        };
        let stack = stacks::find(&mut tx, instance.stack).await?;
        let env = instances.env_of(&mut tx, id).await?.shown();
        Ok(Outline {
            instance,
            engine_version: stack.version,
            env,
        })
    }

    pub(super) async fn read(&self, it: &Outline) -> Result<State, Error> {
        let engine = it.instance.engine;
        let permit = self.asks.clone().acquire_owned().await;
        let sealed = self.parts.instances.read_content(&it.instance).await;
        drop(permit);
        let sealed = sealed?;
        let key = self
            .parts
            .instances
            .credential_secret(it.instance.id)
            .await?;
        let (flows, credentials, modules) = self
            .blocking(move || {
                let flows = Flows::parse(engine, sealed.flows);
                let flows = flows.map_err(ReadError::Unreadable)?;
                Ok((
                    flows,
                    engine.kind().open(&key, &sealed.credentials),
                    sealed.modules,
                ))
            })
            .await?;
        let credentials = credentials.map_err(Error::from);
        let digests = match &credentials {
            Ok(it) => digests(&self.parts.digest_key, it),
            Err(_) => Digests::new(),
        };
        let content = Content {
            engine,
            engine_version: it.engine_version.clone(),
            flows,
            modules,
            env: it.env.clone(),
            digests,
        };
        Ok(State {
            content,
            credentials,
        })
    }

    /// Work on files and large texts, off the async threads; a few at once,
    /// since each may hold some hundred MiB.
    pub(super) async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let permit = self.reads.clone().acquire_owned().await;
        let done = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            work()
        });
        done.await
            .unwrap_or_else(|error| Err(Error::Staging(error.to_string())))
    }
}
