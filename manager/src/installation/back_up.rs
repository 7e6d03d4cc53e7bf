use std::{
    fs::{self, DirBuilder, File},
    io::ErrorKind,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context as _, ensure};
use chrono::{DateTime, Utc};
use tokio::runtime::Handle;

use super::{
    Keys,
    container::Writer,
    database::{self, Dump},
    folders::{Copy, Hold, Vanished},
    manifest::{DatabaseInfo, InstanceInfo, Kind, Manifest, Member},
    space::Guard,
    watch::{Watch, go_on},
};
use crate::{
    config::Config,
    db::Db,
    instances::{self, Instances, Listed},
    kernel::InstanceId,
};

const README: &str = "\
This is a backup of a whole Openflow installation. To bring it back on a machine where Openflow is
installed and its data folder is empty:

    openflow restore <this file>

It is a plain tar. openflow.json says what is in it; SHA256SUMS is for sha256sum -c.
database/*.copy.gz are tables as PostgreSQL's COPY text, instances/*.tar.gz are data folders.
";

/// What a backup of the installation is made from.
pub struct BackUp {
    pub config: Config,
    pub db: Db,
    pub instances: Instances,
    pub keys: Keys,
    /// Puts the keys in.
    pub with_keys: bool,
    /// `settings.env`
    pub settings: String,
    /// Freezes nothing: for when the container engine is away.
    pub hot: bool,
    /// The file to make; it is not there yet.
    pub output: PathBuf,
    pub now: DateTime<Utc>,
}

/// What a backup came to.
pub struct Made {
    pub manifest: Manifest,
    pub bytes: u64,
}

/// Makes the archive beside and renames it: it is there whole or not at all.
/// Beside a running manager, too.
pub async fn back_up(job: BackUp, watch: Arc<dyn Watch>) -> anyhow::Result<Made> {
    let output = std::path::absolute(&job.output)?;
    let folder = output.parent().context("give a file to make")?.to_owned();
    ensure!(
        !output.exists(),
        "{} is there already. Choose another name with --output.",
        output.display()
    );
    let mut dump = Dump::begin(&job.db).await?;
    job.keys.try_on(&dump.sealed_secrets().await?)?;
    let found = instances::list_all(&mut dump.tx).await?;
    let found: Vec<InstanceInfo> = found.into_iter().map(InstanceInfo::from).collect();
    let guard = Guard::new(&folder, expected_bytes(&job, &found).await)?;
    let (beside, mut out) = Beside::new(&output)?;
    out.add(&Kind::Readme, README.as_bytes())?;
    let info = database::dump(&mut dump, &mut out, &guard, &*watch).await?;
    // Old row versions are kept for it while it is open.
    drop(dump);
    let manifest = tokio::task::spawn_blocking({
        let (handle, spool) = (Handle::current(), beside.spool.clone());
        move || {
            Rest {
                job,
                info,
                found,
                guard,
                watch,
                spool,
            }
            .write(out, &handle)
        }
    });
    let manifest = manifest.await??;
    ensure!(
        !output.exists(),
        "{} has come into being meanwhile",
        output.display()
    );
    fs::rename(&beside.partial, &output)?;
    File::open(&folder)?.sync_all()?;
    Ok(Made {
        bytes: fs::metadata(&output)?.len(),
        manifest,
    })
}

/// Text and code compress well, images and the like do not: half of it.
async fn expected_bytes(job: &BackUp, found: &[InstanceInfo]) -> u64 {
    let mut bytes = 0;
    for it in found {
        bytes += job.instances.data_bytes(InstanceId(it.id)).await;
    }
    bytes / 2
}

/// As opposed to the disk that is written to, and to somebody's Ctrl-C.
fn is_the_folders_fault(error: &anyhow::Error) -> bool {
    use openflow_archive::Error;
    let failed = error.downcast_ref::<Error>();
    error.is::<Vanished>()
        || failed.is_some_and(|it| !matches!(it, Error::Cancelled | Error::DiskFull(_)))
}

/// What is removed however the backup ends.
struct Beside {
    partial: PathBuf,
    spool: PathBuf,
}

impl Beside {
    /// And the file. Whoever holds its lock owns what is beside.
    fn new(output: &Path) -> anyhow::Result<(Self, Writer)> {
        let name = output.file_name().context("give a file to make")?;
        let beside = |suffix: &str| {
            let mut name = name.to_owned();
            name.push(suffix);
            output.with_file_name(name)
        };
        let partial = beside(".partial");
        let out = Writer::create(&partial).map_err(|error| match error.kind() {
            ErrorKind::WouldBlock => anyhow::anyhow!(
                "another backup to {} is being made. Wait for it, or choose another name with --output.",
                output.display()
            ),
            _ => anyhow::Error::new(error).context(format!("cannot make {}", partial.display())),
        })?;
        let it = Self {
            partial,
            spool: beside(".partial.spool"),
        };
        it.clear_spool();
        DirBuilder::new()
            .mode(0o700)
            .create(&it.spool)
            .with_context(|| format!("cannot make {}", it.spool.display()))?;
        Ok((it, out))
    }

    fn clear_spool(&self) {
        let _ = fs::remove_dir_all(&self.spool);
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        self.clear_spool();
        // Absent after a rename; what stays is overwritten by the next one.
        let _ = fs::remove_file(&self.partial);
    }
}

/// The part that blocks.
struct Rest {
    job: BackUp,
    info: DatabaseInfo,
    found: Vec<InstanceInfo>,
    guard: Guard,
    watch: Arc<dyn Watch>,
    spool: PathBuf,
}

impl Rest {
    fn write(mut self, mut out: Writer, handle: &Handle) -> anyhow::Result<Manifest> {
        let mut found = std::mem::take(&mut self.found);
        let mut copy = Copy {
            out: &mut out,
            guard: &self.guard,
            spool: &self.spool,
            watch: &*self.watch,
        };
        let all = found.len();
        for (at, it) in found.iter_mut().enumerate() {
            let id = InstanceId(it.id);
            let bytes = handle.block_on(self.job.instances.data_bytes(id));
            let what = format!("Copying {} ({} of {all})", it.name, at + 1);
            self.watch.begin(&what, bytes);
            let hold = Hold::new(self.job.instances.clone(), id, handle.clone());
            let hold = (!self.job.hot).then_some(hold);
            let path = self.job.instances.data_folder(id);
            let dump = match self.dump(handle, id) {
                Ok(dump) => dump,
                Err(error) => {
                    tracing::warn!("cannot copy {}: {error}", it.name);
                    it.missing = Some(error.to_string());
                    continue;
                }
            };
            let needed = dump.as_ref().map(instances::Dump::file);
            let copied = copy.folder(&Kind::Instance(it.id), &path, (hold, needed));
            if let Some(dump) = dump
                && let Err(error) = handle.block_on(dump.remove())
            {
                // The next one replaces it.
                tracing::warn!(%error, "the dump of {}'s database stays in its data folder: {error}", it.name);
            }
            match copied {
                Ok(data) => it.data = data,
                Err(error) if is_the_folders_fault(&error) => {
                    // Whatever one tenant does, the others get their backup.
                    tracing::warn!("cannot copy {}: {error:#}", it.name);
                    it.missing = Some(format!("{error:#}"));
                    copy.out.take_back()?;
                }
                Err(error) => return Err(error.context(format!("cannot copy {}", it.name))),
            }
            go_on(&*self.watch)?;
        }
        let folder = self.job.config.data.mqtt();
        let mut mqtt = None;
        if folder.is_dir() {
            self.watch.begin("Copying the MQTT broker's messages", 0);
            // Its files are of the kind that a power cut may meet at any time:
            // exchanged whole, or logs with a checksum for each line.
            let copied = copy.folder(&Kind::Mqtt, &folder, (None, None));
            mqtt = copied.context("cannot copy the MQTT broker's files")?;
        }
        out.add(&Kind::Settings, self.job.settings.as_bytes())?;
        if self.job.with_keys {
            for (name, content) in &self.job.keys.files {
                out.add(&Kind::Key(name), content)?;
            }
        }
        out.finish(|members| Manifest {
            mqtt,
            ..self.manifest(found, members)
        })
    }

    /// Of an instance that keeps its data in PostgreSQL. Without the container
    /// engine there is none, and half of its data is no backup.
    fn dump(
        &self,
        handle: &Handle,
        id: InstanceId,
    ) -> Result<Option<instances::Dump>, instances::Error> {
        handle.block_on(self.job.instances.dump(id))
    }

    fn manifest(self, instances: Vec<InstanceInfo>, members: Vec<Member>) -> Manifest {
        let (format, version) = Manifest::format();
        let config = &self.job.config;
        Manifest {
            format,
            version,
            openflow: env!("CARGO_PKG_VERSION").to_owned(),
            created_at: self.job.now,
            public_url: config.public_url(),
            domain: config.address.domain.clone(),
            with_keys: self.job.with_keys,
            key_ids: self.job.keys.ring.ids(),
            database: self.info,
            instances,
            mqtt: None,
            members,
        }
    }
}

impl From<Listed> for InstanceInfo {
    fn from(it: Listed) -> Self {
        Self {
            id: it.id.0,
            name: it.name,
            subdomain: it.subdomain,
            image: it.image,
            desired: it.desired,
            data: None,
            missing: None,
        }
    }
}
