//! Trying out a copy of an instance's data in a throwaway container.
use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use uuid::Uuid;

use super::{Desired, Error, Instances, inside, spec, store};
use crate::{
    crypto::random_token,
    kernel::{InstanceId, Secret},
    runtime::{Ended, Rehearsal},
    stacks::{self, Engine},
};

/// Where the images have it; docs/wire.md says what it does and answers.
const COMMAND: [&str; 2] = ["node", "/opt/openflow/node-red/rehearse.js"];
/// The rehearsal itself takes some beside the engine.
const MEMORY_BYTES_MIN: i64 = 384 << 20;
const CPUS: f64 = 1.0;
const PIDS_MAX: i64 = 256;
const TMP_BYTES: i64 = 64 << 20;
const LIMIT: Duration = Duration::from_secs(15 * 60);

/// A copy of a data folder, as it was put aside.
#[derive(Clone, Debug)]
pub struct DataCopy {
    /// Whose it is; it may be gone by now.
    pub instance: InstanceId,
    pub engine: Engine,
    /// Belongs to [`Instances::data_owner`].
    pub folder: PathBuf,
    /// Encrypts the engine's own credentials file.
    pub credential_secret: Secret,
}

impl Instances {
    /// Whether copies of that engine's data can be tried out.
    pub fn can_rehearse(engine: Engine) -> bool {
        engine == Engine::NodeRed
    }

    /// Starts the copy's engine without network, in safe mode, with the
    /// instance's image and environment (the default image when it is gone),
    /// and says how the rehearsal ended. Takes at most some minutes.
    pub async fn rehearse(&self, copy: DataCopy) -> Result<Ended, Error> {
        let mut rehearsal = match self.rehearsal_of(&copy).await? {
            Some(rehearsal) => rehearsal,
            None => self.plain_rehearsal(&copy).await?,
        };
        // Worth nothing outside, so that a copy never speaks as its instance.
        for name in ["OPENFLOW_MAGIC_TOKEN", "OPENFLOW_MQTT_PASSWORD"] {
            let token = Secret::new(random_token());
            rehearsal.env.insert(name.to_owned(), token);
        }
        rehearsal.env.insert(
            "OPENFLOW_CREDENTIAL_SECRET".to_owned(),
            copy.credential_secret,
        );
        Ok(self.parts.runtime.run_once(&rehearsal).await?)
    }

    /// Removes what rehearsals of a killed manager left in the engine. Nobody
    /// else rehearses while this is called.
    pub async fn sweep_rehearsals(&self) -> Result<(), Error> {
        Ok(self.parts.runtime.sweep_rehearsals().await?)
    }

    /// As the instance is; `None` when it is gone or going.
    async fn rehearsal_of(&self, copy: &DataCopy) -> Result<Option<Rehearsal>, Error> {
        let mut tx = self.parts.db.begin_system().await?;
        let it = store::get(&mut tx, copy.instance).await?;
        let Some(it) = it.filter(|it| it.desired != Desired::Absent) else {
            return Ok(None);
        };
        let inside = inside::get(&mut tx, &self.parts.keys, it.id).await?;
        let stack = stacks::find(&mut tx, it.stack).await?;
        drop(tx);
        let settings = &self.parts.settings;
        let spec = spec::container_spec(settings, &self.folders, &it, &inside, &stack.image);
        Ok(Some(Rehearsal {
            memory_bytes: spec.memory_bytes.max(MEMORY_BYTES_MIN),
            pids_max: spec.pids_max,
            tmp_bytes: spec.tmp_bytes,
            ..self.rehearsal(copy, spec.image, spec.env)
        }))
    }

    async fn plain_rehearsal(&self, copy: &DataCopy) -> Result<Rehearsal, Error> {
        let mut tx = self.parts.db.begin_system().await?;
        let stack = stacks::pick_ready(&mut tx, None).await?;
        let id = copy.instance.to_string();
        let env = [
            ("OPENFLOW_INSTANCE_ID", id.as_str()),
            ("OPENFLOW_SUBDOMAIN", "rehearsal"),
            ("OPENFLOW_NAME", "rehearsal"),
            ("OPENFLOW_URL", "http://rehearsal.localhost"),
        ];
        let env = env.map(|(name, value)| (name.to_owned(), Secret::new(value)));
        Ok(self.rehearsal(copy, stack.image, env.into()))
    }

    fn rehearsal(
        &self,
        copy: &DataCopy,
        image: String,
        env: BTreeMap<String, Secret>,
    ) -> Rehearsal {
        Rehearsal {
            id: Uuid::now_v7(),
            image,
            command: COMMAND.map(str::to_owned).into(),
            env,
            memory_bytes: MEMORY_BYTES_MIN,
            cpus: CPUS,
            pids_max: PIDS_MAX,
            tmp_bytes: TMP_BYTES,
            data_dir: copy.folder.clone(),
            user: self.folders.owner(),
            limit: LIMIT,
        }
    }
}
