//! What can be told of a file from outside.
use std::{
    fs::File,
    io,
    os::unix::fs::FileExt,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rustix::io::Errno;

use crate::{
    Error,
    scan::{Item, Stamp, Taken},
};

/// After this time the kernel wrote back what a memory map changed, so a stamp tells of any later change.
const QUIET: Duration = Duration::from_secs(60);

/// The kernel's clock for stamps ticks every 1 to 10 ms: a file that was written to just now may be so again without a trace.
pub(super) const TICK: Duration = Duration::from_millis(50);

/// The database that a file beside it belongs to, by its name.
pub(super) fn sqlite_base(path: &str) -> Option<&str> {
    let endings = ["-wal", "-shm", "-journal"];
    endings.iter().find_map(|ending| path.strip_suffix(ending))
}

/// Pages are of 512 bytes at least.
pub(super) fn is_sqlite(file: &File, size: u64) -> bool {
    let mut head = [0; 16];
    let whole = size > 0 && size.is_multiple_of(512);
    whole && file.read_exact_at(&mut head, 0).is_ok() && head == *b"SQLite format 3\0"
}

/// It was not written to just now.
pub(super) fn is_settled(stamp: &Stamp) -> bool {
    let Ok(now) = SystemTime::now().duration_since(UNIX_EPOCH) else {
        return false;
    };
    let before = now.saturating_sub(TICK).as_nanos();
    i128::from(stamp.ctime) < before.cast_signed()
}

/// It was not written to for a while.
pub(super) fn is_quiet(stamp: &Stamp) -> bool {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.map_or(0, |since| since.as_secs().cast_signed());
    let quiet = QUIET.as_secs().cast_signed();
    stamp.touched().saturating_add(quiet) < now
}

/// What becomes of an item that could not be opened: skipped, or (None) gone; or it is none of its fault.
pub(super) fn trouble(item: &Item, error: io::Error) -> Result<Option<Taken>, Error> {
    match Errno::from_io_error(&error) {
        // Exchanged for a link or a folder: as good as gone.
        Some(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::ISDIR | Errno::NXIO) => Ok(None),
        Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM) => {
            Err(Error::io(format!("opening '{}'", item.path), error))
        }
        _ => {
            let reason = format!("it cannot be read: {error}");
            Ok(Some(Taken::Skipped(reason.into())))
        }
    }
}
