//! The tar format as far as it is needed: POSIX headers with PAX records, sparse files as GNU tar's version 1.0; reading
//! also GNU's long names and its older sparse files. Field codecs are the `tar` crate's.
mod decode;
mod encode;
pub(crate) mod pax;
mod sparse;

pub(crate) use decode::{Found, FoundKind, Reader};
pub(crate) use encode::{Head, encode};

const BLOCK: usize = 512;

/// How many zeros fill up the last block.
pub(crate) fn padding(size: u64) -> u64 {
    size.next_multiple_of(BLOCK as u64) - size
}
