//! The folder of backups: `<instance>/<YYYYMMDDTHHMMSSZ>.tar.gz`. Only we write
//! to it. All calls block.
use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, ErrorKind},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use chrono::{DateTime, Utc};
use openflow_archive::remove_tree;

use super::{Archive, Backup, Error, model::STAMP};
use crate::kernel::{BackupId, InstanceId};

const EXTENSION: &str = ".tar.gz";
/// Of a file that is not whole.
const PARTIAL: &str = ".partial";
const UPLOAD: &str = ".upload-";
const SPOOL: &str = ".spool-";
const REHEARSAL: &str = ".rehearsal-";
/// Of what was encrypted for the bucket.
const SEALED: &str = ".sealed-";
/// So many backups begun in one second find a name.
const NAMES_MAX: u32 = 100;
/// An upload that was not written to for so long was left behind.
const UPLOAD_SILENCE: Duration = Duration::from_secs(3600);

#[derive(Clone, Debug)]
pub(super) struct BackupFolder {
    root: PathBuf,
}

/// A file that is being written beside the place where it will stand.
#[derive(Debug)]
pub(super) struct Unfinished {
    pub(super) path: PathBuf,
    /// Its name when it is whole.
    pub(super) name: String,
}

impl BackupFolder {
    /// `data_dir` is absolute.
    pub(super) fn new(data_dir: &Path) -> Self {
        Self {
            root: data_dir.join("backups"),
        }
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn path(&self, instance: InstanceId, name: &str) -> PathBuf {
        self.folder(instance).join(name)
    }

    fn folder(&self, instance: InstanceId) -> PathBuf {
        self.root.join(instance.to_string())
    }

    /// For what one backup puts aside meanwhile.
    pub(super) fn spool(&self, id: BackupId) -> PathBuf {
        self.root.join(format!("{SPOOL}{id}"))
    }

    /// Where one backup is unpacked to be tried out.
    pub(super) fn rehearsal(&self, id: BackupId) -> PathBuf {
        self.root.join(format!("{REHEARSAL}{id}"))
    }

    /// What one backup is encrypted to before it is copied to the bucket.
    pub(super) fn sealed(&self, id: BackupId) -> PathBuf {
        self.root.join(format!("{SEALED}{id}"))
    }

    /// Removes what was encrypted for others than these.
    pub(super) fn remove_sealed_but(&self, ids: &[BackupId]) -> io::Result<()> {
        for (path, name) in listed(&self.root)? {
            let id = name.strip_prefix(SEALED);
            // What is being made ends in `.new`.
            let id = id.map(|it| it.trim_end_matches(".new").parse::<BackupId>());
            match id {
                None => {}
                Some(Ok(id)) if ids.contains(&id) => {}
                Some(_) => remove_file(&path)?,
            }
        }
        Ok(())
    }

    /// Where a file is fetched to; left behind, it goes like an upload.
    pub(super) fn fetching(&self, instance: InstanceId, id: BackupId) -> io::Result<PathBuf> {
        let folder = self.folder(instance);
        make(&folder)?;
        Ok(folder.join(format!("{UPLOAD}{id}-fetch")))
    }

    /// Makes the folder, and the spool of one backup in it.
    pub(super) fn make_spool(&self, id: BackupId) -> io::Result<PathBuf> {
        let spool = self.spool(id);
        make(&spool)?;
        Ok(spool)
    }

    /// A new file under a name that is free.
    pub(super) fn begin(
        &self,
        instance: InstanceId,
        at: DateTime<Utc>,
    ) -> io::Result<(Unfinished, File)> {
        let folder = self.folder(instance);
        make(&folder)?;
        let stamp = at.format(STAMP);
        for n in 1..=NAMES_MAX {
            let name = match n {
                1 => format!("{stamp}{EXTENSION}"),
                _ => format!("{stamp}-{n}{EXTENSION}"),
            };
            if folder.join(&name).try_exists()? {
                continue;
            }
            let path = folder.join(format!("{name}{PARTIAL}"));
            match create(&path) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
                Ok(file) => return Ok((Unfinished { path, name }, file)),
            }
        }
        Err(io::Error::other("no file name is free"))
    }

    /// A file to receive an upload in.
    pub(super) fn begin_upload(
        &self,
        instance: InstanceId,
        id: BackupId,
    ) -> io::Result<(PathBuf, File)> {
        let folder = self.folder(instance);
        make(&folder)?;
        let path = folder.join(format!("{UPLOAD}{id}"));
        let file = create(&path)?;
        Ok((path, file))
    }

    /// Puts a whole file in its place, for good.
    pub(super) fn finish(&self, instance: InstanceId, from: &Path, name: &str) -> io::Result<()> {
        fs::rename(from, self.path(instance, name))?;
        for folder in [&self.folder(instance), &self.root] {
            File::open(folder)?.sync_all()?;
        }
        Ok(())
    }

    pub(super) fn open(&self, instance: InstanceId, name: &str) -> Result<File, Error> {
        match File::open(self.path(instance, name)) {
            Ok(file) => Ok(file),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                Err(Error::FileGone(name.to_owned()))
            }
            Err(error) => Err(Error::Folder(error.to_string())),
        }
    }

    pub(super) fn has(&self, instance: InstanceId, name: &str) -> io::Result<bool> {
        self.path(instance, name).try_exists()
    }

    /// How it is about the backup's archive. A folder that cannot be read says
    /// nothing against it.
    pub(super) fn archive_of(&self, backup: &Backup) -> Archive {
        let name = backup.file_name.as_ref().filter(|_| !backup.is_open());
        match name.map(|it| self.has(backup.instance, it)) {
            None => Archive::None,
            Some(Ok(false)) => Archive::Gone,
            Some(_) if backup.is_damaged() => Archive::Damaged,
            Some(_) => Archive::Here,
        }
    }

    /// Removes the file, and the folder with the last one.
    pub(super) fn remove(&self, instance: InstanceId, name: &str) -> io::Result<()> {
        remove_file(&self.path(instance, name))?;
        match fs::remove_dir(self.folder(instance)) {
            Err(error)
                if ![ErrorKind::NotFound, ErrorKind::DirectoryNotEmpty].contains(&error.kind()) =>
            {
                Err(error)
            }
            _ => Ok(()),
        }
    }

    /// Bytes that are free for us on its disk.
    pub(super) fn free_bytes(&self) -> io::Result<u64> {
        make(&self.root)?;
        free_bytes(&self.root)
    }

    /// Removes what a manager that died was writing: nobody else makes backups
    /// while this is called. One that cannot be removed hinders nothing.
    pub(super) fn remove_unfinished(&self) -> io::Result<()> {
        for (path, name) in listed(&self.root)? {
            let removed = match name.starts_with(SPOOL) || name.starts_with(REHEARSAL) {
                true => remove_tree(&path),
                false => remove_partials(&path),
            };
            if let Err(error) = removed {
                let path = path.display();
                tracing::warn!(%error, "cannot remove what is unfinished in {path}: {error}");
            }
        }
        Ok(())
    }

    /// Removes uploads that broke off with their manager.
    pub(super) fn remove_stale_uploads(&self) -> io::Result<()> {
        for (folder, _) in listed(&self.root)? {
            for (file, name) in listed(&folder)? {
                if !name.starts_with(UPLOAD) {
                    continue;
                }
                let modified = file.symlink_metadata()?.modified()?;
                let silence = SystemTime::now().duration_since(modified);
                if silence.is_ok_and(|it| UPLOAD_SILENCE < it) {
                    remove_file(&file)?;
                }
            }
        }
        Ok(())
    }

    /// No instance has a folder in it: nothing was ever kept here, or the disk
    /// is not there.
    pub(super) fn is_bare(&self) -> io::Result<bool> {
        let names = listed(&self.root)?;
        Ok(!names.iter().any(|(_, it)| it.parse::<InstanceId>().is_ok()))
    }

    /// The whole archives that are there, by instance.
    pub(super) fn archives(&self) -> io::Result<Vec<(InstanceId, String)>> {
        let mut found = Vec::new();
        for (folder, instance) in listed(&self.root)? {
            let Ok(instance) = instance.parse::<InstanceId>() else {
                continue;
            };
            let names = listed(&folder)?.into_iter().map(|(_, name)| name);
            let names = names.filter(|it| it.ends_with(EXTENSION));
            found.extend(names.map(|it| (instance, it)));
        }
        Ok(found)
    }
}

pub(super) fn free_bytes(folder: &Path) -> io::Result<u64> {
    let stat = nix::sys::statvfs::statvfs(folder)?;
    Ok(stat.blocks_available().saturating_mul(stat.fragment_size()))
}

/// Fine when it is gone.
pub(super) fn remove_file(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn make(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
}

fn remove_partials(folder: &Path) -> io::Result<()> {
    for (file, name) in listed(folder)? {
        if name.ends_with(PARTIAL) {
            remove_file(&file)?;
        }
    }
    Ok(())
}

/// What is in the folder, and nothing when that is not there or no folder.
fn listed(folder: &Path) -> io::Result<Vec<(PathBuf, String)>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if [ErrorKind::NotFound, ErrorKind::NotADirectory].contains(&error.kind()) => {
            return Ok(Vec::new());
        }
        other => other?,
    };
    entries
        .map(|it| it.map(|it| (it.path(), it.file_name().to_string_lossy().into_owned())))
        .collect()
}

/// Away from the threads that answer requests.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(io::Error::other)
        .flatten()
        .map_err(|error| Error::Folder(error.to_string()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, chown};

    use nix::unistd::{Uid, geteuid, setfsuid};

    use super::*;

    const OURS: u32 = 1000;

    /// As a manager that is not root finds what tenants made read-only. Only this
    /// thread becomes that user.
    #[test]
    fn one_that_cannot_be_removed_does_not_keep_the_others() {
        if !geteuid().is_root() {
            return; // nobody else can make what is not ours
        }
        let data = tempfile::tempdir().unwrap();
        let folder = BackupFolder::new(data.path());
        let ids = [(); 4].map(|()| BackupId::new());
        for (n, id) in ids.iter().enumerate() {
            let inside = folder.rehearsal(*id).join("read-only");
            fs::create_dir_all(&inside).unwrap();
            fs::write(inside.join("file"), "x").unwrap();
            fs::set_permissions(&inside, fs::Permissions::from_mode(0o555)).unwrap();
            let owner = if n == 1 { 0 } else { OURS };
            for path in [inside.join("file"), inside, folder.rehearsal(*id)] {
                chown(path, Some(owner), None).unwrap();
            }
        }
        for path in [data.path(), folder.root()] {
            chown(path, Some(OURS), None).unwrap();
        }
        setfsuid(Uid::from_raw(OURS));
        let removed = folder.remove_unfinished();
        setfsuid(Uid::from_raw(0));
        removed.unwrap();
        let there = ids.map(|it| folder.rehearsal(it).exists());
        assert_eq!(there, [false, true, false, false]);
    }
}
