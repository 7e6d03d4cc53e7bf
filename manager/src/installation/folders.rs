//! Copying a folder that is in use into the archive.
use std::{
    io,
    os::unix::fs::MetadataExt as _,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use anyhow::Context as _;
use openflow_archive::{Folder, Freezer, Progress, Skipped, WriteOptions, Written};
use tokio::runtime::Handle;

use super::{
    container::Writer,
    manifest::{DataInfo, Kind},
    space::Guard,
    watch::Watch,
};
use crate::{instances::Instances, kernel::InstanceId};

/// An instance is frozen for no longer than this.
const FREEZE_LIMIT: Duration = Duration::from_secs(10);
/// For the freezer's own fuse, which ends what a killed backup began.
const FUSE: Duration = Duration::from_secs(20);
const LOOK_PERIOD: Duration = Duration::from_millis(100);
const SKIPPED_TOLD: usize = 100;
/// A restore that is carried out has the folder away for a moment.
const OPEN_TRIES: u32 = 20;
const OPEN_PAUSE: Duration = Duration::from_millis(100);

/// Where and with what a folder is copied.
pub(super) struct Copy<'a> {
    pub(super) out: &'a mut Writer,
    pub(super) guard: &'a Guard,
    pub(super) spool: &'a Path,
    pub(super) watch: &'a dyn Watch,
}

impl Copy<'_> {
    /// Writes the folder as an entry; `needed` has to be in it. `None`: there is
    /// no such folder.
    pub(super) fn folder(
        &mut self,
        kind: &Kind,
        path: &Path,
        (mut freezer, needed): (Option<Hold>, Option<&str>),
    ) -> anyhow::Result<Option<DataInfo>> {
        let Some(folder) = open(path)? else {
            return Ok(None);
        };
        let opened = identity(path);
        let options = WriteOptions {
            freeze_limit: FREEZE_LIMIT,
            ..WriteOptions::new(self.spool)
        };
        self.out.begin(kind)?;
        let content = self.out.content()?;
        let progress = Progress::new();
        let freezing = freezer.as_mut().map(|it| it as &mut dyn Freezer);
        let written = watched(&progress, self.watch, Some(self.guard), || {
            openflow_archive::write(&folder, content, &options, freezing, &progress)
        })?;
        if let Some(path) = needed.filter(|it| !written.manifest.has_file(it)) {
            return Err(Vanished(path.to_owned()).into());
        }
        self.out.end_with(written.sha256.to_string())?;
        let mut info = info(&written);
        // A restore that ended meanwhile has removed what was read.
        let same = identity(path) == opened;
        info.consistent &= same && !freezer.is_some_and(|it| it.broken);
        Ok(Some(info))
    }
}

/// A file that had to be in the copy.
#[derive(Debug, thiserror::Error)]
#[error("{0} vanished before it was read")]
pub(super) struct Vanished(String);

/// Device and inode.
fn identity(path: &Path) -> Option<(u64, u64)> {
    let it = path.symlink_metadata().ok()?;
    Some((it.dev(), it.ino()))
}

fn open(path: &Path) -> anyhow::Result<Option<Folder>> {
    for _ in 0..OPEN_TRIES {
        match Folder::open(path) {
            Ok(folder) => return Ok(Some(folder)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => thread::sleep(OPEN_PAUSE),
            Err(error) => {
                return Err(error).with_context(|| format!("cannot open {}", path.display()));
            }
        }
    }
    Ok(None)
}

fn info(written: &Written) -> DataInfo {
    let told = |it: &Skipped| format!("{} ({})", it.path, it.reason);
    DataInfo {
        files: written.manifest.files,
        bytes: written.manifest.bytes,
        consistent: written.consistent,
        frozen_ms: written
            .frozen
            .map(|it| u64::try_from(it.as_millis()).unwrap_or(u64::MAX)),
        skipped: written
            .skipped
            .iter()
            .take(SKIPPED_TOLD)
            .map(told)
            .collect(),
    }
}

/// Does the work; meanwhile tells how far it is, and ends it when somebody
/// wants that or the disk gets full.
pub(super) fn watched<T>(
    progress: &Progress,
    watch: &dyn Watch,
    guard: Option<&Guard>,
    work: impl FnOnce() -> Result<T, openflow_archive::Error>,
) -> anyhow::Result<T> {
    let over = AtomicBool::new(false);
    let (result, full) = thread::scope(|scope| {
        let looker = scope.spawn(|| {
            while !over.load(Ordering::Acquire) {
                watch.done(progress.done_bytes());
                let full = guard.and_then(|it| it.check().err());
                if full.is_some() || watch.is_cancelled() {
                    progress.cancel();
                    return full;
                }
                thread::park_timeout(LOOK_PERIOD);
            }
            None
        });
        let result = work();
        over.store(true, Ordering::Release);
        looker.thread().unpark();
        (result, looker.join().ok().flatten())
    });
    match full {
        Some(full) => Err(full),
        None => Ok(result?),
    }
}

/// Holds an instance still for the copy of what changes.
pub(super) struct Hold {
    instances: Instances,
    id: InstanceId,
    handle: Handle,
    /// By us: what somebody else froze (it sleeps, say) is theirs to thaw.
    frozen: bool,
    /// There was nothing to freeze: it did not run.
    stood: bool,
    /// It did not stay frozen for its copy.
    broken: bool,
}

impl Hold {
    /// Not to be used on a thread of `handle`'s own.
    pub(super) fn new(instances: Instances, id: InstanceId, handle: Handle) -> Self {
        Self {
            instances,
            id,
            handle,
            frozen: false,
            stood: false,
            broken: false,
        }
    }
}

impl Freezer for Hold {
    fn freeze(&mut self) -> io::Result<()> {
        let freeze = self.instances.freeze(self.id, FREEZE_LIMIT + FUSE);
        // One that does not run changes nothing.
        self.frozen = self.handle.block_on(freeze).map_err(io::Error::other)?;
        self.stood = !self.frozen;
        Ok(())
    }

    fn thaw(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.stood) {
            // Started meanwhile, say.
            let up = self.handle.block_on(self.instances.is_up(self.id));
            self.broken |= up.map_err(io::Error::other)?;
        }
        if !std::mem::take(&mut self.frozen) {
            return Ok(());
        }
        let still = self.handle.block_on(self.instances.thaw(self.id));
        // Somebody stopped it meanwhile, say.
        self.broken |= !still.map_err(io::Error::other)?;
        Ok(())
    }
}
