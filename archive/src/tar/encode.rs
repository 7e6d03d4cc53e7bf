//! An entry's header.
use std::io;

use ::tar::{EntryType, Header};

use super::{BLOCK, pax, sparse};
use crate::{Mtime, attributes::Attributes, content::Extents};

pub(crate) struct Head<'a> {
    /// As it stands in the tar.
    pub(crate) path: &'a str,
    pub(crate) kind: EntryType,
    /// Of a link, else empty.
    pub(crate) target: &'a str,
    /// Of a file, else 0.
    pub(crate) size: u64,
    /// Of a sparse file: only these follow, one after the other.
    pub(crate) extents: Option<&'a Extents>,
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) mtime: Mtime,
    pub(crate) attributes: &'a Attributes,
}

const NAME_LENGTH: usize = 100;
/// What the octal fields hold: 7 and 11 digits.
const HIGHEST_OWNER: u32 = 0o7_777_777;
const BIGGEST: u64 = 0o77_777_777_777;

/// All blocks before the data. The data is then filled up as [`super::padding`] says.
pub(crate) fn encode(head: &Head<'_>) -> io::Result<Vec<u8>> {
    let map = head.extents.map(|extents| sparse::map(extents, head.size));
    let stored = match (head.extents, &map) {
        (Some(extents), Some(map)) => {
            map.len() as u64 + extents.iter().map(|(_, length)| length).sum::<u64>()
        }
        _ => head.size,
    };
    let mut records = Vec::new();
    if head.path.len() > NAME_LENGTH || !head.path.is_ascii() || map.is_some() {
        let key = if map.is_some() { sparse::NAME } else { "path" };
        pax::push(&mut records, key, head.path);
    }
    if head.target.len() > NAME_LENGTH || !head.target.is_ascii() {
        pax::push(&mut records, "linkpath", head.target);
    }
    if stored > BIGGEST {
        pax::push(&mut records, "size", stored.to_string());
    }
    if head.uid > HIGHEST_OWNER {
        pax::push(&mut records, "uid", head.uid.to_string());
    }
    if head.gid > HIGHEST_OWNER {
        pax::push(&mut records, "gid", head.gid.to_string());
    }
    let seconds = u64::try_from(head.mtime.seconds).unwrap_or(0);
    if head.mtime.nanos != 0 || head.mtime.seconds < 0 || seconds > BIGGEST {
        pax::push(&mut records, "mtime", head.mtime.to_string());
    }
    if map.is_some() {
        pax::push(&mut records, "GNU.sparse.major", "1");
        pax::push(&mut records, "GNU.sparse.minor", "0");
        pax::push(&mut records, sparse::SIZE, head.size.to_string());
    }
    for (key, value) in head.attributes.records() {
        pax::push(&mut records, key, value);
    }
    let mut blocks = Vec::with_capacity(4 * BLOCK);
    if !records.is_empty() {
        let mut header = Header::new_ustar();
        name(&mut header, "././@PaxHeader", "");
        header.set_entry_type(EntryType::XHeader);
        header.set_mode(0o644);
        push(&mut blocks, header, records.len() as u64);
        fill_up(&mut blocks, &records);
    }
    let mut header = Header::new_ustar();
    name(&mut header, head.path, head.target);
    header.set_entry_type(head.kind);
    header.set_mode(head.mode);
    header.set_uid(head.uid.min(HIGHEST_OWNER).into());
    header.set_gid(head.gid.min(HIGHEST_OWNER).into());
    header.set_mtime(seconds.min(BIGGEST));
    push(&mut blocks, header, stored.min(BIGGEST));
    blocks.extend(map.unwrap_or_default());
    Ok(blocks)
}

fn push(blocks: &mut Vec<u8>, mut header: Header, size: u64) {
    header.set_size(size);
    header.set_cksum();
    blocks.extend_from_slice(header.as_bytes());
}

fn fill_up(blocks: &mut Vec<u8>, bytes: &[u8]) {
    blocks.extend_from_slice(bytes);
    blocks.resize(blocks.len().next_multiple_of(BLOCK), 0);
}

/// Cut where they are too long; then a PAX record holds the whole.
fn name(header: &mut Header, path: &str, target: &str) {
    let fields = header.as_old_mut();
    for (field, value) in [(&mut fields.name, path), (&mut fields.linkname, target)] {
        let cut = value.floor_char_boundary(NAME_LENGTH);
        field[..cut].copy_from_slice(&value.as_bytes()[..cut]);
    }
}
