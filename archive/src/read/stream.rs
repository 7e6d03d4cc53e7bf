//! The decompressed bytes, counted.
use crate::{Error, gzip::Decompressor};

pub(crate) struct Stream {
    from: Decompressor,
    block: Vec<u8>,
    at: usize,
    /// Of all blocks so far.
    total: u64,
    limit: u64,
}

/// tar fills up its last record with zeros, usually to 10 KiB.
const LONGEST_END: u64 = 1 << 20;

impl Stream {
    pub(crate) fn new(from: Decompressor, limit: u64) -> Self {
        Self {
            from,
            block: Vec::new(),
            at: 0,
            total: 0,
            limit,
        }
    }

    /// How many bytes were taken.
    pub(crate) fn read(&self) -> u64 {
        self.total - (self.block.len() - self.at) as u64
    }

    /// A piece of at most this length, never empty.
    pub(crate) fn piece(&mut self, most: u64) -> Result<&[u8], Error> {
        if self.at == self.block.len() && !self.more()? {
            return Err(Error::damaged("it ends in the middle"));
        }
        let rest = &self.block[self.at..];
        let length = usize::try_from(most).unwrap_or(usize::MAX).min(rest.len());
        self.at += length;
        Ok(&rest[..length])
    }

    pub(crate) fn fill(&mut self, mut into: &mut [u8]) -> Result<(), Error> {
        while !into.is_empty() {
            let piece = self.piece(into.len() as u64)?;
            let (now, rest) = into.split_at_mut(piece.len());
            now.copy_from_slice(piece);
            into = rest;
        }
        Ok(())
    }

    pub(crate) fn skip(&mut self, mut count: u64) -> Result<(), Error> {
        while count > 0 {
            count -= self.piece(count)?.len() as u64;
        }
        Ok(())
    }

    /// Up to the end of the file.
    pub(crate) fn only_zeros(&mut self) -> Result<(), Error> {
        let begin = self.read();
        while self.at < self.block.len() || self.more()? {
            let rest = &self.block[self.at..];
            if rest.iter().any(|byte| *byte != 0) {
                return Err(Error::damaged("something follows after its end"));
            }
            self.at = self.block.len();
            if self.read() - begin > LONGEST_END {
                return Err(Error::damaged("too many zeros follow after its end"));
            }
        }
        Ok(())
    }

    /// The next block that is not empty; false at the end.
    fn more(&mut self) -> Result<bool, Error> {
        loop {
            self.at = 0;
            match self.from.next(std::mem::take(&mut self.block))? {
                None => return Ok(false),
                Some(block) => self.block = block,
            }
            self.total += self.block.len() as u64;
            if self.total > self.limit {
                let what = format!("it holds more than the allowed {} bytes", self.limit);
                return Err(Error::TooBig(what));
            }
            if !self.block.is_empty() {
                return Ok(true);
            }
        }
    }
}
