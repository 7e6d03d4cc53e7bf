//! Maps of sparse files.
use std::fmt::Write;

use super::BLOCK;
use crate::{Error, content::Extents};

pub(super) const NAME: &str = "GNU.sparse.name";
pub(super) const SIZE: &str = "GNU.sparse.realsize";

/// More are refused, so that an archive costs no memory.
pub(super) const MOST_EXTENTS: u64 = 1 << 20;

/// Version 1.0: decimal numbers, each on a line: count, then offset and length of each; filled up to whole blocks. A file
/// that ends in a hole has an empty extent at its end, from which GNU tar knows to make it that long.
pub(super) fn map(extents: &Extents, size: u64) -> Vec<u8> {
    let end = extents.last().map_or(0, |(offset, length)| offset + length);
    let last = (end < size).then_some((size, 0));
    let count = extents.len() + last.iter().len();
    let mut text = format!("{count}\n");
    for (offset, length) in extents.iter().chain(&last) {
        // Writing to a String does not fail.
        let _ = write!(text, "{offset}\n{length}\n");
    }
    let mut bytes = text.into_bytes();
    bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
    bytes
}

/// Whether a map makes sense: ascending, within the file, and of just what is stored.
pub(super) fn verify(extents: &Extents, size: u64, stored: u64) -> Result<(), Error> {
    if size > i64::MAX as u64 {
        return Err(Error::damaged("a sparse file's size makes no sense"));
    }
    let mut end = 0;
    let mut sum = 0;
    for (offset, length) in extents {
        let next = offset.checked_add(*length).filter(|next| *next <= size);
        match next {
            Some(next) if *offset >= end => (end, sum) = (next, sum + length),
            _ => return Err(Error::damaged("a sparse file's map makes no sense")),
        }
    }
    if sum != stored {
        return Err(Error::damaged("a sparse file's map does not fit its data"));
    }
    Ok(())
}
