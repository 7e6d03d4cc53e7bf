//! A file's content: where its holes are, and its hash.
use std::fs::File;

use rustix::{
    fs::{SeekFrom, seek},
    io::Errno,
};
use sha2::Digest;

use crate::{Error, Sha256};

/// Where data is: (offset, length), ascending.
pub(crate) type Extents = Vec<(u64, u64)>;

/// Holes smaller than this are written as zeros.
const SMALLEST_HOLE: u64 = 64 * 1024;
/// More extents than this are joined, the nearest ones first, so that a hostile file costs no memory.
const MOST_EXTENTS: usize = 65536;

/// The extents of a file that has holes worth the trouble; None: it has none. `go_on` is asked now and then.
pub(crate) fn extents(
    file: &File,
    size: u64,
    go_on: &mut dyn FnMut() -> Result<(), Error>,
) -> Result<Option<Extents>, Error> {
    let seek = |to| match seek(file, to) {
        Ok(at) => Ok(Some(at)),
        Err(Errno::NXIO) => Ok(None),
        Err(error) => Err(error),
    };
    let failed = |error: Errno| Error::io("looking for holes in a file", error.into());
    let mut looked = 0_u32;
    let mut extents = Extents::new();
    let mut smallest_hole = SMALLEST_HOLE;
    let mut at = 0;
    while at < size {
        looked = looked.wrapping_add(1);
        if looked.is_multiple_of(1024) {
            go_on()?;
        }
        let start = match seek(SeekFrom::Data(at)) {
            Ok(Some(start)) if start < size => start,
            Ok(_) => break,
            // A file system without holes.
            Err(Errno::INVAL | Errno::OPNOTSUPP) => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        let Some(end) = seek(SeekFrom::Hole(start)).map_err(failed)? else {
            break;
        };
        let end = end.min(size);
        if end <= start {
            return Ok(None);
        }
        push(&mut extents, (start, end - start), smallest_hole);
        if extents.len() > MOST_EXTENTS {
            smallest_hole *= 2;
            let all = std::mem::take(&mut extents);
            all.into_iter()
                .for_each(|extent| push(&mut extents, extent, smallest_hole));
        }
        at = end;
    }
    let data: u64 = extents.iter().map(|(_, length)| length).sum();
    Ok((size - data >= SMALLEST_HOLE).then_some(extents))
}

fn push(extents: &mut Extents, (start, length): (u64, u64), smallest_hole: u64) {
    match extents.last_mut() {
        Some(last) if start - (last.0 + last.1) < smallest_hole => last.1 = start + length - last.0,
        None if start < smallest_hole => extents.push((0, start + length)),
        _ => extents.push((start, length)),
    }
}

/// The two ways of [`crate::Kind::File`], fed in ascending order.
pub(crate) enum Hasher {
    Plain(sha2::Sha256),
    Sparse(Box<Sparse>),
}

pub(crate) struct Sparse {
    hash: sha2::Sha256,
    block: Vec<u8>,
    number: u64,
    touched: bool,
}

const BLOCK: usize = 64 * 1024;

impl Hasher {
    pub(crate) fn new(sparse: bool) -> Self {
        if !sparse {
            return Hasher::Plain(sha2::Sha256::new());
        }
        Hasher::Sparse(Box::new(Sparse {
            hash: sha2::Sha256::new(),
            block: vec![0; BLOCK],
            number: 0,
            touched: false,
        }))
    }

    pub(crate) fn update(&mut self, offset: u64, bytes: &[u8]) {
        match self {
            Hasher::Plain(hash) => hash.update(bytes),
            Hasher::Sparse(sparse) => sparse.update(offset, bytes),
        }
    }

    pub(crate) fn finish(self, size: u64) -> Sha256 {
        match self {
            Hasher::Plain(hash) => Sha256(hash.finalize().into()),
            Hasher::Sparse(mut sparse) => {
                sparse.flush();
                sparse.hash.update(size.to_le_bytes());
                Sha256(sparse.hash.finalize().into())
            }
        }
    }
}

impl Sparse {
    fn update(&mut self, mut offset: u64, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let number = offset / BLOCK as u64;
            if number != self.number {
                self.flush();
                self.number = number;
            }
            let at = (offset % BLOCK as u64) as usize;
            let (now, rest) = bytes.split_at(bytes.len().min(BLOCK - at));
            self.block[at..at + now.len()].copy_from_slice(now);
            self.touched = true;
            offset += now.len() as u64;
            bytes = rest;
        }
    }

    fn flush(&mut self) {
        if !self.touched {
            return;
        }
        if self.block.iter().any(|byte| *byte != 0) {
            self.hash.update(self.number.to_le_bytes());
            self.hash.update(&self.block);
            self.block.fill(0);
        }
        self.touched = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sparse_hash_does_not_depend_on_how_the_zeros_come() {
        let size = 5 * BLOCK as u64 + 100;
        let mut whole = vec![0; size as usize];
        whole[70_000..70_010].fill(7);
        whole[size as usize - 1] = 9;
        let mut one = Hasher::new(true);
        one.update(0, &whole);
        let mut other = Hasher::new(true);
        other.update(69_000, &whole[69_000..71_000]);
        other.update(size - 5, &whole[size as usize - 5..]);
        assert_eq!(one.finish(size), other.finish(size));
        let mut longer = Hasher::new(true);
        longer.update(0, &whole);
        let mut shifted = Hasher::new(true);
        shifted.update(BLOCK as u64, &whole);
        assert_ne!(longer.finish(size + 1), shifted.finish(size + 1));
    }
}
