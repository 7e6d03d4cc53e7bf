//! Files that only a container gets to see: `secrets/` below the data folder,
//! a folder for each instance, mounted at `/run/openflow`. They are written
//! from what is sealed in the database, as often as it takes.
use std::{
    fs::{self, DirBuilder, OpenOptions},
    io::{self, ErrorKind, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, chown},
    path::{Path, PathBuf},
};

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::kernel::{InstanceId, Secret, drawn_before};

const ONCE: &str = ".once-";

/// Name and content.
pub(super) type SecretFile = (&'static str, Secret);

#[derive(Clone, Debug)]
pub(super) struct SecretFolders {
    root: PathBuf,
    /// Numeric user and group of whoever reads them.
    owner: (u32, u32),
}

impl SecretFolders {
    /// `data_dir` is absolute.
    pub(super) fn new(data_dir: &Path, owner: (u32, u32)) -> Self {
        Self {
            root: data_dir.join("secrets"),
            owner,
        }
    }

    pub(super) fn path(&self, id: InstanceId) -> PathBuf {
        self.root.join(id.to_string())
    }

    /// Blocks.
    pub(super) fn ensure(&self, id: InstanceId, files: &[SecretFile]) -> io::Result<()> {
        self.fill(&self.path(id), files)
    }

    /// Fine when it is gone. Blocks.
    pub(super) fn remove(&self, id: InstanceId) -> io::Result<()> {
        gone(fs::remove_dir_all(self.path(id)))
    }

    /// For a container that runs once; goes with what is given back. Blocks.
    pub(super) fn once(&self, files: &[SecretFile]) -> io::Result<OnceFolder> {
        let folder = OnceFolder(self.root.join(format!("{ONCE}{}", Uuid::now_v7())));
        self.fill(&folder.0, files)?;
        Ok(folder)
    }

    /// Removes what a killed manager left of [`SecretFolders::once`] before
    /// that time. Blocks.
    pub(super) fn sweep(&self, at: DateTime<Utc>) -> io::Result<()> {
        let entries = match fs::read_dir(&self.root) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            other => other?,
        };
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name();
            let id = name.to_str().and_then(|it| it.strip_prefix(ONCE));
            let id = id.and_then(|it| it.parse().ok());
            if id.is_some_and(|id| drawn_before(id, at)) {
                gone(fs::remove_dir_all(entry.path()))?;
            }
        }
        Ok(())
    }

    /// Each file is replaced whole: a container may be reading it.
    fn fill(&self, folder: &Path, files: &[SecretFile]) -> io::Result<()> {
        let private = |recursive| {
            let mut builder = DirBuilder::new();
            builder.recursive(recursive).mode(0o711);
            builder
        };
        private(true).create(&self.root)?;
        match private(false).mode(0o700).create(folder) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
            _ => self.give(folder)?,
        }
        for (name, content) in files {
            let beside = folder.join(format!(".{name}"));
            gone(fs::remove_file(&beside))?;
            let mut file = OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o400)
                .open(&beside)?;
            file.write_all(content.expose().as_bytes())?;
            self.give(&beside)?;
            fs::rename(&beside, folder.join(name))?;
        }
        Ok(())
    }

    fn give(&self, path: &Path) -> io::Result<()> {
        if nix::unistd::geteuid().is_root() {
            chown(path, Some(self.owner.0), Some(self.owner.1))?;
        }
        Ok(())
    }
}

fn gone(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// A folder that is removed when this is dropped.
pub(super) struct OnceFolder(PathBuf);

impl OnceFolder {
    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for OnceFolder {
    fn drop(&mut self) {
        if let Err(error) = gone(fs::remove_dir_all(&self.0)) {
            tracing::warn!(%error, "cannot remove {}: {error}", self.0.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use chrono::TimeDelta;

    use super::*;
    use crate::kernel::{Clock as _, SystemClock};

    #[test]
    fn files_are_private_replaced_whole_and_go() {
        let data = tempfile::tempdir().unwrap();
        let folders = SecretFolders::new(data.path(), (1000, 1000));
        let id = InstanceId::new();
        for content in ["one", "two"] {
            let files = [("key", Secret::new(content))];
            folders.ensure(id, &files).unwrap();
            let path = folders.path(id).join("key");
            assert_eq!(fs::read_to_string(&path).unwrap(), content);
            assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o400);
        }
        let mode = folders.path(id).metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        folders.remove(id).unwrap();
        folders.remove(id).unwrap();
        assert!(!folders.path(id).exists());
    }

    #[test]
    fn what_is_for_once_goes_by_itself_or_is_swept() {
        let data = tempfile::tempdir().unwrap();
        let folders = SecretFolders::new(data.path(), (1000, 1000));
        let before = SystemClock.now() - TimeDelta::seconds(10);
        let after = before + TimeDelta::hours(1);
        folders.sweep(after).unwrap();
        let files = [("key", Secret::new("x"))];
        let path = folders.once(&files).unwrap().path().to_owned();
        assert!(!path.exists());
        let left = folders.once(&files).unwrap();
        let path = left.path().to_owned();
        std::mem::forget(left);
        let id = InstanceId::new();
        folders.ensure(id, &files).unwrap();
        folders.sweep(before).unwrap();
        assert!(path.exists(), "another manager may be using it");
        folders.sweep(after).unwrap();
        assert!(!path.exists() && folders.path(id).exists());
    }
}
