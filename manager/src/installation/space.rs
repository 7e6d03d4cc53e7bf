use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use nix::sys::statvfs::statvfs;

/// The private database is likely on the same disk, and stops when it is full.
const FLOOR_BYTES: u64 = 128 << 20;

/// Keeps some of a disk free.
pub(super) struct Guard {
    folder: PathBuf,
}

impl Guard {
    /// Fails when `bytes` more would leave too little. `folder` is there.
    pub(super) fn new(folder: &Path, bytes: u64) -> anyhow::Result<Self> {
        let it = Self {
            folder: folder.to_owned(),
        };
        let free = it.free()?;
        ensure!(
            bytes.saturating_add(FLOOR_BYTES) <= free,
            "the disk of {} has {} MiB free, and this needs some {} MiB. Make room, or choose another place.",
            folder.display(),
            free >> 20,
            (bytes.saturating_add(FLOOR_BYTES)) >> 20,
        );
        Ok(it)
    }

    /// Fails when there is too little left to go on.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        let free = self.free()?;
        ensure!(
            FLOOR_BYTES <= free,
            "the disk of {} is nearly full ({} MiB free). Make room, or choose another place.",
            self.folder.display(),
            free >> 20
        );
        Ok(())
    }

    fn free(&self) -> anyhow::Result<u64> {
        let stat = statvfs(&self.folder);
        let stat = stat.with_context(|| format!("cannot look at {}", self.folder.display()))?;
        Ok(stat.blocks_available() * stat.fragment_size())
    }
}
