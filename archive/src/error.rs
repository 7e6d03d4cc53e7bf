//! What can go wrong, in words for an operator.
use std::io;

#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Also a quota that is used up.
    #[error("the disk is full: {0}")]
    DiskFull(String),
    #[error("this is not an archive that Openflow can read: {0}")]
    WrongFormat(String),
    #[error("the archive is damaged: {0}")]
    Damaged(String),
    /// An entry that no archive of ours holds and that would do harm.
    #[error("the archive's entry '{entry}' is refused: {reason}")]
    Refused { entry: String, reason: String },
    #[error("it is too big: {0}")]
    TooBig(String),
    #[error("it was cancelled")]
    Cancelled,
    /// The folder may still be frozen: the freezer's own limit has to end it.
    #[error("thawing failed: {0}")]
    Thaw(#[source] io::Error),
    #[error("{what}: {source}")]
    Io { what: String, source: io::Error },
}

impl Error {
    pub(crate) fn io(what: impl Into<String>, source: io::Error) -> Self {
        use io::ErrorKind::{QuotaExceeded, StorageFull};
        let what = what.into();
        match source.kind() {
            StorageFull | QuotaExceeded => Error::DiskFull(what),
            _ => Error::Io { what, source },
        }
    }

    pub(crate) fn damaged(what: impl Into<String>) -> Self {
        Error::Damaged(what.into())
    }

    pub(crate) fn refused(entry: impl AsRef<[u8]>, reason: impl Into<String>) -> Self {
        // A hostile name can be long and hold control characters.
        let name = String::from_utf8_lossy(entry.as_ref());
        let mut entry: String = name.chars().take(300).flat_map(shown).collect();
        if name.chars().count() > 300 {
            entry.push('…');
        }
        Error::Refused {
            entry,
            reason: reason.into(),
        }
    }
}

/// A control character becomes its escape.
fn shown(character: char) -> Vec<char> {
    if character.is_control() {
        character.escape_default().collect()
    } else {
        vec![character]
    }
}

/// Adds what was being done to an error of the system.
pub(crate) trait During<T> {
    fn during(self, what: impl FnOnce() -> String) -> Result<T, Error>;
}

impl<T, E: Into<io::Error>> During<T> for Result<T, E> {
    fn during(self, what: impl FnOnce() -> String) -> Result<T, Error> {
        self.map_err(|error| Error::io(what(), error.into()))
    }
}
