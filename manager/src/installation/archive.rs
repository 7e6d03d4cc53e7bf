use std::{
    collections::HashSet,
    fs::File,
    io::{self, Read},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    thread,
};

use anyhow::{Context as _, ensure};
use openflow_archive::{Limits, Progress, UnpackOptions};
use uuid::Uuid;

use super::{
    KEY_FILES,
    container::Container,
    database,
    folders::watched,
    manifest::{Kind, Manifest},
    space::Guard,
    watch::Watch,
};

/// Of one data folder's archive; a folder has a million at the most, and each
/// pass over it may add those that changed.
const ENTRIES_MAX: u64 = 8_000_000;

/// A backup of the installation that was read to its end and found good.
pub struct Archive {
    path: PathBuf,
    container: Container,
}

impl Archive {
    /// Fails, with a reason for a person, when it is damaged, cut, not a
    /// backup of an installation, or of a newer Openflow.
    pub fn open(path: &Path, watch: &dyn Watch) -> anyhow::Result<Self> {
        let container = Container::open(path, watch).with_context(|| path.display().to_string())?;
        let it = Self {
            path: path.canonicalize()?,
            container,
        };
        database::refuse_newer(it.manifest())?;
        Ok(it)
    }

    pub fn manifest(&self) -> &Manifest {
        &self.container.manifest
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn has(&self, kind: &Kind) -> bool {
        self.container.has(kind)
    }

    /// Compressed bytes.
    pub(super) fn size_of(&self, kind: &Kind) -> u64 {
        self.container.size_of(kind)
    }

    pub(super) fn read(&self, kind: &Kind) -> anyhow::Result<Vec<u8>> {
        self.container.read(kind)
    }

    pub(super) fn content(&self, kind: &Kind) -> anyhow::Result<impl Read + Send + use<>> {
        self.container.open_entry(kind)
    }

    pub(super) fn keys(&self) -> anyhow::Result<Vec<(&'static str, Vec<u8>)>> {
        let mut files = Vec::new();
        for name in KEY_FILES {
            if self.has(&Kind::Key(name)) {
                files.push((name, self.read(&Kind::Key(name))?));
            }
        }
        Ok(files)
    }

    /// Instances whose data folder is in it.
    pub(super) fn folders(&self) -> Vec<Uuid> {
        let listed: HashSet<Uuid> = self.manifest().instances.iter().map(|it| it.id).collect();
        let members = self.manifest().members.iter();
        members
            .filter_map(|it| match Kind::of(&it.name) {
                Some(Kind::Instance(id)) if listed.contains(&id) => Some(id),
                _ => None,
            })
            .collect()
    }

    /// Makes the folder `into` of an entry that is an archive itself. What
    /// would leave the folder is refused with its name.
    pub(super) fn unpack(
        &self,
        kind: &Kind,
        into: &Path,
        owner: (u32, u32),
        watch: &dyn Watch,
    ) -> anyhow::Result<()> {
        let content = self.content(kind)?;
        // The reader reads to the end of its file: it gets a pipe that ends
        // with the entry.
        let (reader, mut writer) = io::pipe()?;
        let feeder = thread::spawn(move || {
            let mut content = content;
            // When the reader goes away it has its own reason.
            let _ = io::copy(&mut content, &mut writer);
        });
        let options = UnpackOptions {
            // What the tar holds besides is not in any manifest: files that
            // changed or went while they were read. The disk is the limit.
            limits: Limits {
                bytes: u64::MAX,
                entries: ENTRIES_MAX,
            },
            owner: Some(owner),
            threads: thread::available_parallelism().map_or(1, |it| it.get().min(4)),
        };
        let guard = Guard::new(into.parent().unwrap_or(into), 0)?;
        let input = File::from(OwnedFd::from(reader));
        let progress = Progress::new();
        let unpacked = watched(&progress, watch, Some(&guard), || {
            openflow_archive::unpack(input, into, &options, &progress)
        });
        ensure!(feeder.join().is_ok(), "reading the archive panicked");
        let unpacked = unpacked.with_context(|| format!("{} in the archive", kind.name()))?;
        if let Some(told) = unpacked.refused.sentence() {
            tracing::warn!("{}: {told}", kind.name());
        }
        Ok(())
    }
}
