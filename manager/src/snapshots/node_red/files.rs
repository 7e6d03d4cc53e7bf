use std::{fs::DirBuilder, io, os::unix::fs::DirBuilderExt as _, path::Path, time::Duration};

use nix::errno::Errno;

use super::{FLOWS, FLOWS_BYTES_MAX, modules};
use crate::{
    crypto::node_red::{self, Credentials},
    kernel::Secret,
    snapshots::{Error, model::Installed},
};
use openflow_archive::Folder;

const CREDENTIALS_BYTES_MAX: u64 = 8 << 20;
const TRIES: usize = 5;
const PAUSE: Duration = Duration::from_millis(40);
const MODE: u32 = 0o600;

/// What a data folder holds of a snapshot, as bytes.
pub(in crate::snapshots) struct Files {
    pub(in crate::snapshots) flows: Option<Vec<u8>>,
    pub(in crate::snapshots) credentials: Option<Vec<u8>>,
    pub(in crate::snapshots) modules: Vec<Installed>,
}

/// Reads them while Node-RED may write. Each file is written whole, the
/// credentials first: when those are the same before and after, the flows
/// between belong to them.
pub(in crate::snapshots) fn read(folder: &Folder) -> Result<Files, Error> {
    let credentials = || {
        folder
            .read(node_red::FILE, CREDENTIALS_BYTES_MAX)
            .map_err(|error| unreadable(node_red::FILE, error))
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
    Err(Error::Busy)
}

pub(super) fn unreadable(name: &str, error: io::Error) -> Error {
    Error::Unreadable(match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::ELOOP) => format!("{name} is a link"),
        _ => format!("{name}: {error}"),
    })
}

/// Makes the folder `into` and puts the flows there, with the credentials
/// encrypted for the instance whose secret it is. Node-RED runs without
/// credentials, and forgets them, when it cannot decrypt: so it is tried.
pub(in crate::snapshots) fn write(
    into: &Path,
    flows: &str,
    credentials: &Credentials,
    secret: &Secret,
    owner: (u32, u32),
) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(into)?;
    let folder = Folder::open(into)?;
    let file = node_red::seal(secret, credentials);
    folder.write(node_red::FILE, &file, MODE, Some(owner))?;
    folder.write(FLOWS, flows.as_bytes(), MODE, Some(owner))?;
    let written = folder.read(node_red::FILE, u64::MAX)?.unwrap_or_default();
    match node_red::open(secret, &written) {
        Ok(it) if it == *credentials => Ok(()),
        _ => Err(io::Error::other("the credentials do not read back")),
    }
}
