//! Makes a cluster, in a way that can be interrupted at any point.
use std::{
    fs,
    os::unix::fs::{DirBuilderExt as _, chown},
    path::Path,
    time::Duration,
};

use super::{
    Binaries, ClusterError,
    error::cannot,
    files::{self, SUPERUSER},
    folder::{self, Folder},
    owner::Owner,
    program::Program,
    server,
};

const INITDB_TIMEOUT: Duration = Duration::from_secs(300);

/// `initdb` works in `cluster.unfinished`; the rename at the end makes it the
/// cluster. What an interrupted run left there never held data.
pub(super) async fn make(
    folder: &Folder,
    binaries: &Binaries,
    owner: &Owner,
) -> Result<(), ClusterError> {
    clear_unfinished(&folder.unfinished).await?;
    let mut builder = fs::DirBuilder::new();
    builder
        .mode(0o700)
        .create(&folder.unfinished)
        .map_err(cannot("make", &folder.unfinished))?;
    if owner.is_other {
        chown(&folder.unfinished, Some(owner.uid), Some(owner.gid))
            .map_err(cannot("give away", &folder.unfinished))?;
    }
    tracing::info!(
        "making a PostgreSQL {} cluster in {}",
        binaries.major,
        folder.root.display()
    );
    Program::new(binaries, "initdb", &folder.unfinished, owner)
        .map_err(cannot("open", &folder.unfinished))?
        .args(["--username", SUPERUSER])
        .args(["--auth-local", "peer", "--auth-host", "reject"])
        .args(["--encoding", "UTF8", "--locale", "C.UTF-8"])
        .args(["--data-checksums"])
        .run("initdb", INITDB_TIMEOUT)
        .await?;
    files::write(&folder.unfinished, owner)?;
    // An empty folder of that name may be there; rename replaces it.
    fs::rename(&folder.unfinished, &folder.cluster)
        .map_err(cannot("rename", &folder.unfinished))?;
    folder::sync(&folder.root)
}

async fn clear_unfinished(path: &Path) -> Result<(), ClusterError> {
    if !path.exists() {
        return Ok(());
    }
    tracing::info!("an earlier initdb was interrupted; beginning anew");
    server::end_strays(path).await?;
    fs::remove_dir_all(path).map_err(cannot("remove", path))
}
