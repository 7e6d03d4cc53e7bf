use std::{
    fs::{self, DirBuilder, OpenOptions, Permissions},
    io::{self, ErrorKind, Write as _},
    os::unix::fs::{
        DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
    },
    path::{Path, PathBuf},
};

use nix::unistd::{Gid, Uid, getegid, geteuid};
use openflow_archive::remove_tree;

use crate::{engines::FirstFile, kernel::InstanceId};

/// Whom a container runs as when the manager is root.
const CONTAINER_UID: u32 = 1000;
const CONTAINER_GID: u32 = 1000;
/// So many files are looked at for a folder's size; the rest is left out.
const SIZED_FILES_MAX: usize = 200_000;

/// The instances' data: `instances/<id>/` below the data folder, mounted at
/// `/data`. Move the folder, move the instance.
#[derive(Clone, Debug)]
pub struct DataFolders {
    root: PathBuf,
}

impl DataFolders {
    /// `data_dir` is absolute.
    pub fn new(data_dir: &Path) -> Self {
        Self {
            root: data_dir.join("instances"),
        }
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub fn path(&self, id: InstanceId) -> PathBuf {
        self.root.join(id.to_string())
    }

    /// Numeric user and group that the folders belong to and the containers
    /// run as: 1000 when we may give files away, else our own.
    pub fn owner(&self) -> (u32, u32) {
        if geteuid().is_root() {
            (CONTAINER_UID, CONTAINER_GID)
        } else {
            (geteuid().as_raw(), getegid().as_raw())
        }
    }

    /// Makes the folder with the `first` files in it. A folder that is there
    /// is left as it is, so that no start overwrites a tenant's work. Made
    /// beside and renamed: it is there whole or not at all.
    pub async fn ensure(&self, id: InstanceId, first: Vec<FirstFile>) -> io::Result<()> {
        let it = self.clone();
        blocking(move || it.ensure_now(id, first)).await
    }

    /// Removes the folder and what is in it; fine when it is gone.
    pub async fn remove(&self, id: InstanceId) -> io::Result<()> {
        let it = self.clone();
        blocking(move || {
            let trash = it.root.join(format!(".removed-{id}"));
            match fs::rename(it.path(id), &trash) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            remove_tree(&trash)
        })
        .await
    }

    /// Bytes that the folder takes on disk; files that come and go meanwhile
    /// count or do not.
    pub async fn size(&self, id: InstanceId) -> u64 {
        let path = self.path(id);
        blocking(move || Ok(size_of(&path))).await.unwrap_or(0)
    }

    fn ensure_now(&self, id: InstanceId, first: Vec<FirstFile>) -> io::Result<()> {
        let path = self.path(id);
        if path.is_dir() {
            return Ok(());
        }
        // Others on the host may pass through, not look around.
        DirBuilder::new()
            .recursive(true)
            .mode(0o711)
            .create(&self.root)?;
        let beside = self.root.join(format!(".new-{id}"));
        remove_tree(&beside)?;
        let made = self
            .fill(&beside, first)
            .and_then(|()| fs::rename(&beside, &path));
        if made.is_err() {
            // Give the space back: a full disk is the likeliest reason.
            let _ = remove_tree(&beside);
        }
        made
    }

    fn fill(&self, folder: &Path, first: Vec<FirstFile>) -> io::Result<()> {
        DirBuilder::new().mode(0o700).create(folder)?;
        fs::set_permissions(folder, Permissions::from_mode(0o700))?;
        for (name, content) in first {
            let file = folder.join(name);
            let mut out = OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&file)?;
            out.write_all(&content)?;
            out.sync_all()?;
            self.give(&file)?;
        }
        self.give(folder)
    }

    fn give(&self, path: &Path) -> io::Result<()> {
        let (uid, gid) = self.owner();
        nix::unistd::chown(path, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))
            .map_err(io::Error::from)
    }
}

fn size_of(path: &Path) -> u64 {
    let mut bytes = 0;
    let mut left = SIZED_FILES_MAX;
    let mut folders = vec![path.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            if left == 0 {
                return bytes;
            }
            left -= 1;
            // Not followed: a link of the tenant's leads anywhere.
            let Ok(metadata) = entry.path().symlink_metadata() else {
                continue;
            };
            bytes += metadata.blocks() * 512;
            if metadata.is_dir() {
                folders.push(entry.path());
            }
        }
    }
    bytes
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(io::Error::other)?
}
