use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{Read as _, Seek as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
};

use anyhow::{Context as _, bail};

use crate::config::DataConfig;

/// The data folder is ours. Falls with the process, however it ends.
#[derive(Debug)]
pub(super) struct DataLock {
    _file: File,
}

impl DataLock {
    /// Makes the folder when it is absent. Fails, naming the holder, when
    /// another process has the lock.
    pub(super) fn take(data: &DataConfig) -> anyhow::Result<Self> {
        match Self::try_take(data)? {
            Ok(lock) => Ok(lock),
            Err(holder) => bail!(
                "another openflow ({holder}) uses the data folder {}. Stop it, or choose another folder with --data-dir.",
                data.path().display()
            ),
        }
    }

    /// The lock, or who holds it.
    pub(super) fn try_take(data: &DataConfig) -> anyhow::Result<Result<Self, String>> {
        let folder = data.path();
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .with_context(|| format!("cannot make the data folder {}", folder.display()))?;
        let path = data.lock_file();
        let cannot = || format!("cannot lock {}", path.display());
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .with_context(cannot)?;
        match file.try_lock() {
            Ok(()) => {
                file.set_len(0).with_context(cannot)?;
                file.rewind().with_context(cannot)?;
                write!(file, "pid {}", std::process::id()).with_context(cannot)?;
                Ok(Ok(Self { _file: file }))
            }
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                file.take(64)
                    .read_to_string(&mut holder)
                    .with_context(cannot)?;
                Ok(Err(holder))
            }
            Err(TryLockError::Error(error)) => Err(error).with_context(cannot),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_is_told_who_was_first() {
        let dir = tempfile::tempdir().unwrap();
        let data = DataConfig::new(dir.path().join("data"));
        let first = DataLock::take(&data).unwrap();
        let refusal = DataLock::take(&data).unwrap_err().to_string();
        assert!(refusal.contains(&format!("pid {}", std::process::id())));
        drop(first);
        DataLock::take(&data).unwrap();
    }
}
