use std::{fs::DirBuilder, io, os::unix::fs::DirBuilderExt as _, path::Path, time::Duration};

use nix::errno::Errno;

use super::{FLOWS, credentials, modules};
use crate::{
    engines::{FLOWS_BYTES_MAX, Installed, ReadError, Staged},
    kernel::Secret,
};
use openflow_archive::Folder;

const CREDENTIALS_BYTES_MAX: u64 = 8 << 20;
/// More lenient: a backup was made of whatever there was.
const REKEYED_BYTES_MAX: u64 = 64 << 20;
const TRIES: usize = 5;
const PAUSE: Duration = Duration::from_millis(40);
const MODE: u32 = 0o600;

/// What a data folder holds of a snapshot, as bytes.
pub(super) struct Files {
    pub(super) flows: Option<Vec<u8>>,
    pub(super) credentials: Option<Vec<u8>>,
    pub(super) modules: Vec<Installed>,
}

/// Reads them while Node-RED may write. Each file is written whole, the
/// credentials first: when those are the same before and after, the flows
/// between belong to them.
pub(super) fn read(folder: &Folder) -> Result<Files, ReadError> {
    let credentials = || {
        folder
            .read(credentials::FILE, CREDENTIALS_BYTES_MAX)
            .map_err(|error| unreadable(credentials::FILE, error))
    };
    let mut before = credentials()?;
    for _ in 0..TRIES {
        let flows = folder
            .read(FLOWS, FLOWS_BYTES_MAX)
            .map_err(|error| unreadable(FLOWS, error))?;
        let after = credentials()?;
        if before == after {
            return Ok(Files {
                flows,
                credentials: after,
                modules: modules::read(folder)?,
            });
        }
        before = after;
        std::thread::sleep(PAUSE);
    }
    Err(ReadError::Busy)
}

pub(super) fn unreadable(name: &str, error: io::Error) -> ReadError {
    ReadError::Unreadable(match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::ELOOP) => format!("{name} is a link"),
        _ => format!("{name}: {error}"),
    })
}

/// Makes the folder `into` and puts the flows there, with the credentials
/// encrypted for the instance whose key it is. Node-RED runs without
/// credentials, and forgets them, when it cannot decrypt: so it is tried.
pub(super) fn write(into: &Path, it: &Staged<'_>) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(into)?;
    let folder = Folder::open(into)?;
    let file = credentials::seal(it.key, it.credentials);
    folder.write(credentials::FILE, &file, MODE, Some(it.owner))?;
    folder.write(FLOWS, it.flows.as_bytes(), MODE, Some(it.owner))?;
    let written = folder
        .read(credentials::FILE, u64::MAX)?
        .unwrap_or_default();
    match credentials::open(it.key, &written) {
        Ok(read) if read == *it.credentials => Ok(()),
        _ => Err(io::Error::other("the credentials do not read back")),
    }
}

/// Encrypts the credentials file anew. Fails with the reason, for a person.
pub(super) fn rekey(
    folder: &Path,
    (from, to): (&Secret, &Secret),
    owner: (u32, u32),
) -> Result<(), String> {
    let words = |error: io::Error| error.to_string();
    let folder = Folder::open(folder).map_err(words)?;
    let file = folder.read(credentials::FILE, REKEYED_BYTES_MAX);
    let Some(file) = file.map_err(words)? else {
        return Ok(());
    };
    let all = credentials::open(from, &file).map_err(|error| error.to_string())?;
    let file = credentials::seal(to, &all);
    folder
        .write(credentials::FILE, &file, MODE, Some(owner))
        .map_err(words)
}
