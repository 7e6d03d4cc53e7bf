//! Programs of an instance's image that run once, on a copy of its data or on
//! the data of one that stands still: to try a copy out, to read, to rekey.
use std::{io, path::PathBuf, time::Duration};

use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{Desired, Error, Instances, inside, secrets::SecretFile, spec, store};
use crate::{
    crypto::random_token,
    databases::Login,
    engines::{Engine, Storage, Surroundings},
    kernel::{InstanceId, Secret, drawn_before},
    runtime::{Ended, Rehearsal},
    stacks::{self, Pick},
};

const CPUS: f64 = 1.0;
/// Longer, nothing runs that runs once.
pub(super) const RUN_LIMIT_MAX: Duration = Duration::from_secs(60 * 60);
const REHEARSAL_LIMIT: Duration = Duration::from_secs(15 * 60);
/// What is older was left by a killed manager: no run takes so long, nor do the
/// hosts' clocks differ so much.
const LEFT_OVER_AGE: Duration = Duration::from_secs(2 * RUN_LIMIT_MAX.as_secs());

/// What is run once, and with what.
pub(super) struct Run {
    pub(super) command: Vec<String>,
    pub(super) secrets: Vec<SecretFile>,
    pub(super) limit: Duration,
    /// Of the database that it gets into, without network all the same.
    pub(super) login: Option<Login>,
    /// With the variables that the instance's people set, `NODE_OPTIONS` among
    /// them: what it names may load code of theirs.
    pub(super) own_variables: bool,
}

/// A copy of a data folder, as it was put aside.
#[derive(Clone, Debug)]
pub struct DataCopy {
    /// Whose it is; it may be gone by now.
    pub instance: InstanceId,
    pub engine: Engine,
    /// Where the engine keeps its data; of a database there is a dump in the
    /// folder.
    pub storage: Storage,
    /// Belongs to [`Instances::data_owner`].
    pub folder: PathBuf,
    /// Encrypts the engine's own credentials file.
    pub credential_secret: Secret,
}

impl Instances {
    /// Starts the copy's engine without network, in safe mode, with the
    /// instance's image and environment (the default image when it is gone),
    /// and says how the rehearsal ended; `None` when `stop` came first. Takes
    /// at most some minutes.
    pub async fn rehearse(
        &self,
        copy: DataCopy,
        stop: &CancellationToken,
    ) -> Result<Option<Ended>, Error> {
        let kind = copy.engine.kind();
        let databases = &self.parts.databases;
        self.forget_pointer(&copy).await?;
        let (trial, limit) = match copy.storage {
            Storage::Files => (None, REHEARSAL_LIMIT),
            // A dump is loaded first, however large it is.
            Storage::Postgres => (Some(databases.trial().await?), RUN_LIMIT_MAX),
        };
        let run = Run {
            command: kind.facts().rehearsal.map(str::to_owned).to_vec(),
            secrets: kind.secret_files(&copy.credential_secret),
            limit,
            login: trial.clone(),
            own_variables: true,
        };
        let ended = self.run_once(copy, run, stop).await;
        if let Some(trial) = trial
            && let Err(error) = databases.remove(&trial).await
        {
            tracing::warn!(%error, "a throwaway database is left to be swept: {error}");
        }
        ended
    }

    /// Removes what killed managers left of containers that run once. Those of
    /// other managers, which run now, stay.
    pub async fn sweep_rehearsals(&self) -> Result<(), Error> {
        let at = self.now() - LEFT_OVER_AGE;
        self.parts.runtime.sweep_rehearsals(at).await?;
        let secrets = self.secrets.clone();
        blocking(move || secrets.sweep(at)).await?;
        let is_old = |id| drawn_before(id, at);
        if let Err(error) = self.parts.databases.sweep(is_old).await {
            tracing::warn!(%error, "throwaway databases are left to be swept: {error}");
        }
        Ok(())
    }

    /// Runs a program in a throwaway container of the instance's image, without
    /// network, the copy at `/data`. `None` when `stop` came before its end.
    pub(super) async fn run_once(
        &self,
        copy: DataCopy,
        run: Run,
        stop: &CancellationToken,
    ) -> Result<Option<Ended>, Error> {
        let mut once = match self.as_the_instance(&copy, run.own_variables).await? {
            Some(once) => once,
            None => self.as_none(&copy).await?,
        };
        let mut secrets = run.secrets;
        if let Some(login) = &run.login {
            secrets.extend(self.relayed_file(copy.engine, login)?);
        }
        let folders = self.secrets.clone();
        let folder = match secrets.is_empty() {
            true => None,
            false => Some(blocking(move || folders.once(&secrets)).await?),
        };
        let relay = match (&folder, &run.login) {
            (Some(folder), Some(_)) => Some(self.parts.databases.relay(folder.path())?),
            _ => None,
        };
        once.command = run.command;
        once.limit = run.limit.min(RUN_LIMIT_MAX);
        once.secrets_dir = folder.as_ref().map(|it| it.path().to_owned());
        // Whoever asked may hang up: the container is watched to its end.
        let (runtime, stop) = (self.parts.runtime.clone(), stop.clone());
        let watched = tokio::spawn(async move {
            let ended = tokio::select! {
                ended = runtime.run_once(&once) => ended.map(Some),
                () = stop.cancelled() => {
                    if let Err(error) = runtime.end_run(once.id).await {
                        tracing::warn!(%error, "a throwaway container is left to be swept: {error}");
                    }
                    Ok(None)
                }
            };
            drop(relay);
            drop(folder);
            ended
        });
        match watched.await {
            Ok(ended) => Ok(ended?),
            // As if it had been called: whoever asked says that it fell.
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(error) => Err(Error::DataFolder(error.to_string())),
            },
        }
    }

    /// As the instance is, but for the tokens, so that a copy never speaks as
    /// its instance; `None` when it is gone or going.
    async fn as_the_instance(
        &self,
        copy: &DataCopy,
        own_variables: bool,
    ) -> Result<Option<Rehearsal>, Error> {
        let mut tx = self.parts.db.begin_system().await?;
        let it = store::get(&mut tx, copy.instance).await?;
        let Some(it) = it.filter(|it| it.desired != Desired::Absent) else {
            return Ok(None);
        };
        let mut inside = inside::get(&mut tx, &self.parts.keys, it.id).await?;
        let stack = stacks::find(&mut tx, it.stack).await?;
        drop(tx);
        if !own_variables {
            inside.env = stacks::Env::default();
        }
        inside.keys.magic_token = Secret::new(random_token());
        inside.keys.mqtt_password = Secret::new(random_token());
        inside.keys.credential_secret = copy.credential_secret.clone();
        let spec = spec::container_spec(self, &it, &inside, &stack.image);
        let memory_mb = copy.engine.facts().rehearsal_memory_mb_min;
        Ok(Some(Rehearsal {
            memory_bytes: spec.memory_bytes.max(i64::from(memory_mb) << 20),
            env: spec.env,
            ..self.plain(copy, spec.image)
        }))
    }

    async fn as_none(&self, copy: &DataCopy) -> Result<Rehearsal, Error> {
        let mut tx = self.parts.db.begin_system().await?;
        let stack =
            stacks::pick_ready(&mut tx, Pick::DefaultFor(copy.engine, copy.storage)).await?;
        let id = copy.instance.to_string();
        let env = [
            ("OPENFLOW_INSTANCE_ID", id.as_str()),
            ("OPENFLOW_SUBDOMAIN", "rehearsal"),
            ("OPENFLOW_NAME", "rehearsal"),
            ("OPENFLOW_URL", "http://rehearsal.localhost"),
            ("OPENFLOW_MAGIC_TOKEN", &random_token()),
        ]
        .map(|(name, value)| (name, value.to_owned()));
        let surroundings = Surroundings {
            memory_mb: copy.engine.facts().rehearsal_memory_mb_min,
            node_options: "",
            key: &copy.credential_secret,
        };
        let env = env
            .into_iter()
            .chain(copy.engine.kind().env(&surroundings))
            .map(|(name, value)| (name.to_owned(), Secret::new(value)));
        Ok(Rehearsal {
            env: env.collect(),
            ..self.plain(copy, stack.image)
        })
    }

    fn plain(&self, copy: &DataCopy, image: String) -> Rehearsal {
        let facts = copy.engine.facts();
        Rehearsal {
            id: Uuid::now_v7(),
            image,
            command: Vec::new(),
            env: [].into(),
            memory_bytes: i64::from(facts.rehearsal_memory_mb_min) << 20,
            cpus: CPUS,
            pids_max: facts.pids_max,
            tmp_bytes: facts.tmp_bytes,
            data_dir: copy.folder.clone(),
            secrets_dir: None,
            user: self.folders.owner(),
            limit: REHEARSAL_LIMIT,
        }
    }
}

/// Work on files, off the async threads.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(io::Error::other)
        .flatten()
        .map_err(|error| Error::DataFolder(error.to_string()))
}
