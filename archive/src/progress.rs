//! How far something is, and the wish to stop it; shared with whoever looks.
use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
};

use crate::Error;

/// Cheap to clone; the clones are one. The total may still grow while a folder is being written to.
#[derive(Debug, Clone, Default)]
pub struct Progress(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    done: AtomicU64,
    total: AtomicU64,
    cancelled: AtomicBool,
}

impl Progress {
    pub fn new() -> Self {
        Self::default()
    }

    /// Writing: bytes of files that were read. Reading: bytes of the archive that were read.
    pub fn done_bytes(&self) -> u64 {
        self.0.done.load(Relaxed)
    }

    /// 0 until it is known.
    pub fn total_bytes(&self) -> u64 {
        self.0.total.load(Relaxed)
    }

    /// Whatever goes on ends soon, with [`Error::Cancelled`].
    pub fn cancel(&self) {
        self.0.cancelled.store(true, Relaxed);
    }

    pub fn is_cancelled(&self) -> bool {
        self.0.cancelled.load(Relaxed)
    }

    pub(crate) fn done(&self, bytes: u64) {
        self.0.done.fetch_add(bytes, Relaxed);
    }

    pub(crate) fn expect(&self, bytes: u64) {
        self.0.total.fetch_add(bytes, Relaxed);
    }

    pub(crate) fn go_on(&self) -> Result<(), Error> {
        if self.is_cancelled() {
            return Err(Error::Cancelled);
        }
        Ok(())
    }
}
