//! What came of work on a backup, until the database knows it. When the
//! database does not take it at that moment, neither an archive nor a result is
//! thrown away: the leader notes it later (`run/leader.rs`).
use chrono::{DateTime, Utc};

use super::{Backup, Backups, Error, Outcome, Term};

/// What came of one piece of work, and when.
#[derive(Clone, Debug)]
pub(super) struct Ending {
    pub(super) backup: Backup,
    pub(super) at: DateTime<Utc>,
    pub(super) what: What,
}

#[derive(Clone, Debug)]
pub(super) enum What {
    /// It was made under this term.
    Made(Term, Made),
    Verified(Verified),
    Copied(Copied),
    /// The file was fetched back from the bucket, or why not.
    Fetched(Result<(), String>),
}

#[derive(Clone, Debug)]
pub(super) enum Made {
    /// Its file is in its place, and was read back.
    Whole(Box<Outcome>),
    Failed(String),
    /// The manager stops: the next leader makes it.
    Released,
}

#[derive(Clone, Debug)]
pub(super) enum Verified {
    /// Read back and compared.
    Whole,
    /// Why it cannot be read.
    Unreadable {
        why: String,
        /// The file itself is at fault: the backup is good no more.
        damaged: bool,
    },
    /// An instance was started on it, and what its checks say.
    Lives(String),
    /// An instance would not live with it: which check failed, and why.
    Fails(String),
    /// Nothing was learned about the backup, for reasons of this host.
    Unable(String),
    /// The manager stops: the next leader does it.
    Released,
}

#[derive(Clone, Debug)]
pub(super) enum Copied {
    /// Under this key, so many bytes.
    Done {
        key: String,
        bytes: u64,
    },
    Failed(String),
    /// The manager stops: the next leader goes on.
    Released,
}

impl Backups {
    pub(super) fn ending(&self, backup: &Backup, what: What) -> Ending {
        Ending {
            backup: backup.clone(),
            at: self.now(),
            what,
        }
    }

    /// Writes it down; gives it back when that cannot be done now.
    pub(super) async fn noted(&self, ending: Ending) -> Option<Ending> {
        let error = self.note(&ending).await.err()?;
        tracing::warn!(
            backup.id = %ending.backup.id, %error,
            "what came of the backup {} cannot be noted, and is tried again: {error}",
            ending.backup.title(),
        );
        Some(ending)
    }

    /// Writes it down. Once more does no harm: a commit whose answer was lost
    /// looks like one that failed.
    pub(super) async fn note(&self, it: &Ending) -> Result<(), Error> {
        match &it.what {
            What::Made(term, made) => self.note_made(it, *term, made).await,
            What::Verified(verified) => self.note_verified(it, verified).await,
            What::Copied(copied) => self.note_copied(it, copied).await,
            What::Fetched(fetched) => self.note_fetched(it, fetched).await,
        }
    }
}
