//! POSIX access control lists: the kernel's bytes and the text of POSIX.1e, with numbers for users and groups.
use std::fmt::Write;

/// The kernel's numbers for what an entry is about, and what they are called; whether it names somebody.
const TAGS: [(u16, &str, bool); 6] = [
    (0x01, "user", false),
    (0x02, "user", true),
    (0x04, "group", false),
    (0x08, "group", true),
    (0x10, "mask", false),
    (0x20, "other", false),
];
const VERSION: u32 = 2;
const ENTRY: usize = 8;
const NOBODY: u32 = u32::MAX;
const BITS: [(u16, char); 3] = [(4, 'r'), (2, 'w'), (1, 'x')];

/// `user::rw-,user:1000:r--,group::r--,mask::r--,other::---`; None: that is no list.
pub(super) fn to_text(bytes: &[u8]) -> Option<String> {
    let (version, entries) = bytes.split_first_chunk()?;
    if u32::from_le_bytes(*version) != VERSION || !entries.len().is_multiple_of(ENTRY) {
        return None;
    }
    let mut text = String::new();
    for entry in entries.chunks_exact(ENTRY) {
        let (tag, rest) = entry.split_first_chunk()?;
        let (bits, id) = rest.split_first_chunk()?;
        let (tag, bits) = (u16::from_le_bytes(*tag), u16::from_le_bytes(*bits));
        let (_, name, named) = TAGS.iter().find(|(number, _, _)| *number == tag)?;
        if !text.is_empty() {
            text.push(',');
        }
        write!(text, "{name}:").ok()?;
        if *named {
            write!(text, "{}", u32::from_le_bytes(id.try_into().ok()?)).ok()?;
        }
        text.push(':');
        text.extend(BITS.map(|(bit, letter)| if bits & bit == 0 { '-' } else { letter }));
    }
    (!text.is_empty()).then_some(text)
}

/// The other way. A fourth field is the number for a name, as bsdtar writes it; a name without one is nobody's here.
pub(super) fn from_text(text: &str) -> Option<Vec<u8>> {
    let mut entries = Vec::new();
    for entry in text.trim_end_matches(['\n', '\0']).split([',', '\n']) {
        let fields: Vec<&str> = entry.trim().split(':').collect();
        let (name, who, letters, number) = match fields[..] {
            [name, who, letters] => (name, who, letters, who),
            [name, who, letters, number] => (name, who, letters, number),
            _ => return None,
        };
        let named = !who.is_empty();
        let found = TAGS.iter().find(|it| (it.1, it.2) == (name, named))?;
        let id = if named { number.parse().ok()? } else { NOBODY };
        let mut bits = 0;
        for letter in letters.chars().filter(|letter| *letter != '-') {
            bits |= BITS.iter().find(|it| it.1 == letter)?.0;
        }
        entries.push((found.0, id, bits));
    }
    // As the kernel wants them.
    entries.sort_unstable();
    let mut bytes = VERSION.to_le_bytes().to_vec();
    for (tag, id, bits) in entries {
        bytes.extend(tag.to_le_bytes());
        bytes.extend(bits.to_le_bytes());
        bytes.extend(id.to_le_bytes());
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_come_back() {
        let text = "user::rw-,user:0:r--,user:1000:rwx,group::r--,group:7:--x,mask::rwx,other::---";
        let bytes = from_text(text).unwrap();
        assert_eq!(to_text(&bytes).as_deref(), Some(text));
        // GNU tar's own, in another order, and bsdtar's.
        let other = "group::r--\nuser::rw-\nuser:ada:r--:1000\nmask::rwx\nother::---\n";
        let expected = "user::rw-,user:1000:r--,group::r--,mask::rwx,other::---";
        let read = from_text(other).unwrap();
        assert_eq!(to_text(&read).as_deref(), Some(expected));
    }

    #[test]
    fn what_is_none_is_refused() {
        for text in [
            "",
            "user",
            "user:ada:r--",
            "nobody::r--",
            "user::q--",
            "mask:1:r--",
            "user::r--:1:2",
        ] {
            assert_eq!(from_text(text), None, "{text}");
        }
        for bytes in [
            &b""[..],
            &[2, 0, 0, 0],
            &[1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0],
            &[2, 0, 0, 0, 1],
        ] {
            assert_eq!(to_text(bytes), None, "{bytes:?}");
        }
    }
}
