use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::Path,
};

use super::{KeyRingError, random_token};
use crate::kernel::Secret;

/// Reads a file that holds one secret, or makes it with a random one that only
/// its owner may read.
pub fn load_or_create_secret(path: &Path) -> Result<Secret, KeyRingError> {
    let failed = |source| KeyRingError::File {
        path: path.display().to_string(),
        source,
    };
    let read = || fs::read_to_string(path);
    let text = match read() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            create(path, &random_token()).and_then(|()| read())
        }
        result => result,
    };
    match text.map_err(failed)?.trim() {
        "" => Err(failed(io::Error::other(
            "it is empty; restore it from a backup of the data folder",
        ))),
        text => Ok(Secret::new(text)),
    }
}

/// Whole or not at all, and never over an existing file: another process may
/// have been first, and then its secret counts.
fn create(path: &Path, text: &str) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)?;
    let new = path.with_extension(format!("new-{}", std::process::id()));
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&new)?;
    writeln!(file, "{text}")?;
    file.sync_all()?;
    let linked = fs::hard_link(&new, path);
    fs::remove_file(&new)?;
    match linked {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_secret_is_made_once_and_only_for_its_owner() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys/proxy.secret");
        let made = load_or_create_secret(&path).unwrap();
        assert_eq!(made.expose().len(), 43);
        assert_eq!(load_or_create_secret(&path).unwrap(), made);
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
        create(&path, "second").unwrap();
        assert_eq!(load_or_create_secret(&path).unwrap(), made);
    }

    #[test]
    fn an_empty_file_is_no_secret() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("empty");
        fs::write(&path, "\n").unwrap();
        assert!(load_or_create_secret(&path).is_err());
    }
}
