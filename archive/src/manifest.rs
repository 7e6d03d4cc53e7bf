//! The list of what an archive holds.
use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// The only version there is.
pub(crate) const VERSION: u32 = 1;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    pub version: u32,
    /// Seconds since 1970.
    pub created_at: u64,
    /// What the caller had to say of it; this crate does not look at it.
    pub about: serde_json::Value,
    /// Regular files, each hard link too.
    pub files: u64,
    /// Their sizes together, a hard-linked file once.
    pub bytes: u64,
    /// Sorted by path; a folder stands before what is in it, the archived folder itself, as `.`, before all.
    pub entries: Vec<Entry>,
}

/// In JSON: `{path, type: "folder"|"file"|"symlink"|"hardlink", mode, uid, gid, mtime, size?, sha256?, sparse?, target?,
/// attributes?}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Row", into = "Row")]
pub struct Entry {
    /// Relative, with `/`, without `.` and `..`.
    pub path: String,
    pub kind: Kind,
    /// The twelve permission bits.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub mtime: Mtime,
    /// Of a file or folder with extended attributes or access control lists: over their PAX records in the tar, by their
    /// keys in order.
    pub attributes: Option<Sha256>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    Folder,
    /// `sparse`: the file has holes, and `sha256` is over its blocks of 64 KiB that are not all zero (the last one filled
    /// up with zeros), each after its number as 8 bytes little-endian, and at last the file's size likewise. So its holes
    /// need not be read. Otherwise `sha256` is the content's.
    File {
        size: u64,
        sha256: Sha256,
        sparse: bool,
    },
    Symlink {
        target: String,
    },
    /// `target` is the path of a file in the manifest.
    HardLink {
        target: String,
    },
}

/// A time of modification, in JSON as decimal seconds since 1970: `"1700000000.5"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Mtime {
    pub seconds: i64,
    /// Below 1,000,000,000, counted forward also before 1970.
    pub nanos: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Sha256(pub [u8; 32]);

impl Manifest {
    /// Whether a regular file of that path is in the archive.
    pub fn has_file(&self, path: &str) -> bool {
        let mut entries = self.entries.iter();
        entries.any(|it| it.path == path && matches!(it.kind, Kind::File { .. }))
    }

    pub(crate) fn new(about: serde_json::Value, created_at: u64, entries: Vec<Entry>) -> Self {
        let (mut files, mut bytes) = (0, 0_u64);
        for entry in &entries {
            match entry.kind {
                Kind::File { size, .. } => {
                    files += 1;
                    bytes = size.saturating_add(bytes);
                }
                Kind::HardLink { .. } => files += 1,
                Kind::Folder | Kind::Symlink { .. } => {}
            }
        }
        Self {
            version: VERSION,
            created_at,
            about,
            files,
            bytes,
            entries,
        }
    }
}

impl Mtime {
    /// Since 1970, in the range that 64 bits have (1677 to 2262).
    pub(crate) fn total_nanos(self) -> i64 {
        let whole = self.seconds.saturating_mul(1_000_000_000);
        whole.saturating_add(self.nanos.into())
    }
}

#[derive(Serialize, Deserialize)]
struct Row {
    path: String,
    #[serde(rename = "type")]
    kind: RowKind,
    mode: u32,
    uid: u32,
    gid: u32,
    mtime: Mtime,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sha256: Option<Sha256>,
    #[serde(default, skip_serializing_if = "is_false")]
    sparse: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    target: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    attributes: Option<Sha256>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum RowKind {
    Folder,
    File,
    Symlink,
    HardLink,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it so")]
fn is_false(value: &bool) -> bool {
    !value
}

impl From<Entry> for Row {
    fn from(entry: Entry) -> Self {
        let mut row = Row {
            path: entry.path,
            kind: RowKind::Folder,
            mode: entry.mode,
            uid: entry.uid,
            gid: entry.gid,
            mtime: entry.mtime,
            size: None,
            sha256: None,
            sparse: false,
            target: None,
            attributes: entry.attributes,
        };
        match entry.kind {
            Kind::Folder => {}
            Kind::File {
                size,
                sha256,
                sparse,
            } => {
                row.kind = RowKind::File;
                (row.size, row.sha256, row.sparse) = (Some(size), Some(sha256), sparse);
            }
            Kind::Symlink { target } => (row.kind, row.target) = (RowKind::Symlink, Some(target)),
            Kind::HardLink { target } => (row.kind, row.target) = (RowKind::HardLink, Some(target)),
        }
        row
    }
}

impl TryFrom<Row> for Entry {
    type Error = String;

    fn try_from(row: Row) -> Result<Self, String> {
        let kind = match (row.kind, row.size, row.sha256, row.target) {
            (RowKind::Folder, None, None, None) => Kind::Folder,
            (RowKind::File, Some(size), Some(sha256), None) => Kind::File {
                size,
                sha256,
                sparse: row.sparse,
            },
            (RowKind::Symlink, None, None, Some(target)) => Kind::Symlink { target },
            (RowKind::HardLink, None, None, Some(target)) => Kind::HardLink { target },
            _ => return Err(format!("the fields of '{}' do not fit its type", row.path)),
        };
        Ok(Entry {
            path: row.path,
            kind,
            mode: row.mode,
            uid: row.uid,
            gid: row.gid,
            mtime: row.mtime,
            attributes: row.attributes,
        })
    }
}

impl fmt::Display for Mtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // -1 s and 0.25 s forward is written -0.75.
        let (sign, seconds, nanos) = match (self.seconds, self.nanos) {
            (seconds, nanos) if seconds >= 0 => ("", seconds.unsigned_abs(), nanos),
            (seconds, 0) => ("-", seconds.unsigned_abs(), 0),
            (seconds, nanos) => ("-", (seconds + 1).unsigned_abs(), 1_000_000_000 - nanos),
        };
        write!(f, "{sign}{seconds}")?;
        if nanos == 0 {
            return Ok(());
        }
        let fraction = format!("{nanos:09}");
        write!(f, ".{}", fraction.trim_end_matches('0'))
    }
}

impl FromStr for Mtime {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "a time is written as decimal seconds".to_owned();
        let (negative, digits) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
        let numeric = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        if !numeric(whole) || !numeric(fraction) {
            return Err(wrong());
        }
        // With the sign: the lowest number has no positive twin.
        let sign = if negative { "-" } else { "" };
        let seconds: i64 = format!("{sign}{whole}").parse().map_err(|_| wrong())?;
        let padded: String = fraction
            .chars()
            .chain("000000000".chars())
            .take(9)
            .collect();
        let nanos: u32 = padded.parse().map_err(|_| wrong())?;
        Ok(match (negative, nanos) {
            (false, nanos) => Mtime { seconds, nanos },
            (true, 0) => Mtime { seconds, nanos: 0 },
            (true, nanos) => Mtime {
                seconds: seconds.checked_sub(1).ok_or_else(wrong)?,
                nanos: 1_000_000_000 - nanos,
            },
        })
    }
}

impl TryFrom<String> for Mtime {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Mtime> for String {
    fn from(mtime: Mtime) -> Self {
        mtime.to_string()
    }
}

impl fmt::Display for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl TryFrom<String> for Sha256 {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let wrong = || "a SHA-256 is written as 64 hexadecimal digits".to_owned();
        if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(wrong());
        }
        let mut bytes = [0; 32];
        for (byte, at) in bytes.iter_mut().zip((0..64).step_by(2)) {
            *byte = u8::from_str_radix(&text[at..at + 2], 16).map_err(|_| wrong())?;
        }
        Ok(Self(bytes))
    }
}

impl From<Sha256> for String {
    fn from(sha256: Sha256) -> Self {
        sha256.to_string()
    }
}
