//! Where the server's socket stands: a private folder with a short path.
use std::{
    env, fs, io,
    os::unix::{
        ffi::OsStrExt as _,
        fs::{DirBuilderExt as _, MetadataExt as _, chown},
    },
    path::{Path, PathBuf},
};

use sha2::{Digest as _, Sha256};

use super::{ClusterError, owner::Owner};

/// `sockaddr_un` holds 107 bytes and a zero.
const SOCKET_BYTES_MAX: usize = 107;
const SOCKET_NAME: &str = "/.s.PGSQL.5432";
/// The lock file beside the socket has a longer name.
const LOCK_SUFFIX: &str = ".lock";

/// Makes (or finds) the folder, owned by the server and closed to everybody
/// else. `root` is the folder of the cluster, which the name is made from: the
/// same cluster gets the same place each time.
pub(super) fn folder(root: &Path, owner: &Owner) -> Result<PathBuf, ClusterError> {
    let key = Sha256::digest(root.as_os_str().as_bytes());
    let name = format!(
        "openflow-{:02x}{:02x}{:02x}{:02x}",
        key[0], key[1], key[2], key[3]
    );
    let mut candidates = Vec::new();
    if owner.is_other {
        // The server's user may not be able to pass the folders above ours
        // (a home of mode 0700), so its socket stands elsewhere.
        candidates.push(Path::new("/run").join(&name));
    } else {
        candidates.push(root.join("run"));
        if let Some(runtime) = env::var_os("XDG_RUNTIME_DIR") {
            candidates.push(Path::new(&runtime).join(&name));
        }
    }
    candidates.push(Path::new("/tmp").join(format!("{name}-{}", owner.uid)));

    let mut reasons = Vec::new();
    for candidate in candidates {
        match claim(&candidate, owner) {
            Ok(()) => return Ok(candidate),
            Err(error) => reasons.push(format!("{}: {error}", candidate.display())),
        }
    }
    Err(ClusterError::NoSocketFolder(reasons.join("; ")))
}

/// A folder that was there already counts only when nobody else can have put
/// it there: in `/tmp` anybody could.
fn claim(path: &Path, owner: &Owner) -> io::Result<()> {
    if SOCKET_BYTES_MAX < path.as_os_str().len() + SOCKET_NAME.len() + LOCK_SUFFIX.len() {
        return Err(io::Error::other("the path is too long for a socket"));
    }
    match fs::DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => chown(path, Some(owner.uid), Some(owner.gid))?,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error),
    }
    let metadata = fs::symlink_metadata(path)?;
    if !metadata.is_dir() || metadata.uid() != owner.uid || metadata.mode() & 0o077 != 0 {
        return Err(io::Error::other(
            "it exists and is not a private folder of the server's user; remove it",
        ));
    }
    Ok(())
}
