use std::{io, path::PathBuf};

/// Why the private cluster cannot be used. Each message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    #[error(
        "No PostgreSQL server of version {oldest} or later was found (looked in {looked_in}). Install one \
         (Debian: apt-get install postgresql), name its folder with OPENFLOW_PG_BIN_DIR, or set DATABASE_URL."
    )]
    NoServer { oldest: u32, looked_in: String },
    #[error(
        "{folder} was made by PostgreSQL {major}, which is not installed here (found: {found}). Install it \
         (Debian: apt-get install postgresql-{major}). The data was not touched."
    )]
    MajorMissing {
        folder: PathBuf,
        major: String,
        found: String,
    },
    #[error(
        "{folder} is not empty and is not Openflow's database ({why}). Nothing was changed. Choose another \
         data folder with --data-dir, or move these files away."
    )]
    Foreign { folder: PathBuf, why: String },
    #[error(
        "{folder} belongs to user {owner}, and this process runs as user {own}. Run Openflow as root or as \
         the user that made it, or give the folder to user {own} with chown -R."
    )]
    OtherOwner {
        folder: PathBuf,
        owner: String,
        own: String,
    },
    #[error(
        "PostgreSQL does not run as root, and there is no user {0} to run it as. Create one \
         (useradd --system {0}) or name another with OPENFLOW_PG_USER."
    )]
    NoUser(String),
    #[error(
        "The user id {0} has no name on this machine (no line in /etc/passwd), which PostgreSQL needs to \
         know its clients. Add one, or run Openflow as another user."
    )]
    NamelessUser(u32),
    #[error("There is no safe place for PostgreSQL's socket: {0}")]
    NoSocketFolder(String),
    #[error("{program} failed ({how}).{output}")]
    Failed {
        program: &'static str,
        how: String,
        /// The last lines of its output, from a new line on.
        output: String,
    },
    #[error(
        "PostgreSQL processes of an earlier run still use {folder} (pids {pids}) and do not end. \
         End them, then start again."
    )]
    StillInUse { folder: PathBuf, pids: String },
    #[error("Cannot {action} {path}: {source}")]
    File {
        action: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error("PostgreSQL runs but does not answer as it should: {0}")]
    Database(#[from] sqlx::Error),
}

/// Names the path of an I/O error: `.map_err(cannot("read", path))`.
pub(super) fn cannot(
    action: &'static str,
    path: impl Into<PathBuf>,
) -> impl FnOnce(io::Error) -> ClusterError {
    let path = path.into();
    move |source| ClusterError::File {
        action,
        path,
        source,
    }
}
