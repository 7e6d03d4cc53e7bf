//! gzip on several threads. What goes in is cut into blocks of 1 MiB; each becomes a gzip member of its own (RFC 1952,
//! 2.2), whose header says in an extra field (`OF`, 4 bytes little-endian) how long the whole member is. So a reader can
//! find the next member without decompressing this one. Any gunzip reads such a file; any gzip file can be read here,
//! on one thread where members do not say their length.
mod read;
mod write;

pub(crate) use read::Decompressor;
pub(crate) use write::Compressor;

use std::sync::{Arc, Mutex, PoisonError};

const BLOCK: usize = 1 << 20;
/// Nothing of ours is longer, compressed or not; so a hostile header cannot ask for much memory.
const LONGEST_MEMBER: usize = BLOCK + BLOCK / 4;
/// Magic, deflate, FEXTRA, no time, no hints, unknown system; 8 bytes of extra field: "OF" with 4 bytes.
const HEADER: [u8; 16] = [0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 255, 8, 0, b'O', b'F', 4, 0];
/// The header with the length, and what follows the data: CRC-32 and input size.
const HEADER_LENGTH: usize = HEADER.len() + 4;
const TRAILER_LENGTH: usize = 8;

/// Buffers that are used again, because a fresh one costs page faults.
#[derive(Clone, Default)]
struct Pool(Arc<Mutex<Vec<Vec<u8>>>>);

impl Pool {
    fn take(&self) -> Vec<u8> {
        let mut buffers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        buffers
            .pop()
            .unwrap_or_else(|| Vec::with_capacity(LONGEST_MEMBER))
    }

    fn give(&self, mut buffer: Vec<u8>) {
        buffer.clear();
        let mut buffers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        buffers.push(buffer);
    }
}
