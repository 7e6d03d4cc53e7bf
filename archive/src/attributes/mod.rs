//! Extended attributes that a file's owner may set without privileges: `user.*` and POSIX access control lists. Others
//! (`security.*`, `trusted.*`, what a file system has of its own) belong to a host; they are neither archived nor restored.
mod acl;

use std::{borrow::Cow, collections::BTreeMap, io, os::fd::AsFd};

use rustix::{
    fs::{XattrFlags, fgetxattr, flistxattr, flistxattr_query, fsetxattr},
    io::Errno,
};
use sha2::Digest;

use crate::{Sha256, tar::pax};

/// Of one file or folder, as PAX records by their keys: `SCHILY.xattr.user.…` with the value as it is, `SCHILY.acl.access`
/// and `SCHILY.acl.default` with the list as text. GNU tar and bsdtar use the same.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Attributes(BTreeMap<Box<str>, Box<[u8]>>);

/// How many bytes of them an archive may still hold.
pub(crate) struct Allowance(usize);

/// What was read of a file, and why that is not all.
pub(crate) type Read = (Attributes, Option<Box<str>>);

const USER: &str = "SCHILY.xattr.user.";
const XATTR: &str = "SCHILY.xattr.";
const ACLS: [(&str, &str); 2] = [
    ("SCHILY.acl.access", "system.posix_acl_access"),
    ("SCHILY.acl.default", "system.posix_acl_default"),
];

/// How a file system says that it does not take one. Where the disk itself is full, what comes next fails, too.
const REFUSALS: [Errno; 7] = [
    Errno::OPNOTSUPP,
    Errno::NOSYS,
    Errno::PERM,
    Errno::TOOBIG,
    Errno::NOSPC,
    Errno::DQUOT,
    Errno::RANGE,
];

/// An access control list of owner, group and others is what the mode says.
const MODE_ENTRIES: usize = 3;

/// Of one file, names and values together.
const MOST: usize = 64;
const MOST_BYTES: usize = 64 * 1024;
/// Of one archive: those of folders are kept in memory until the end.
const MOST_IN_ALL: usize = 64 << 20;

impl Attributes {
    /// What the file has. What there is too much of, or cannot be read, is left out as a whole.
    pub(crate) fn of(file: impl AsFd) -> Read {
        match read(file.as_fd()) {
            Ok(it) => (it, None),
            Err(why) => (
                Self::default(),
                Some(format!("its extended attributes are left out: {why}").into()),
            ),
        }
    }

    /// Gives them to the file. The names of those that the file system does not take: it has none at all, has no room for
    /// so many or so long ones, or lets nobody set them.
    pub(crate) fn set(&self, file: impl AsFd) -> io::Result<Vec<String>> {
        let mut refused = Vec::new();
        for (key, value) in &self.0 {
            let list = ACLS.iter().find(|(acl, _)| **acl == **key);
            let (name, value) = match list {
                Some((_, name)) => {
                    let text = std::str::from_utf8(value).ok().and_then(acl::from_text);
                    ((*name).to_owned(), text.ok_or(Errno::INVAL)?.into())
                }
                None => {
                    let name = decoded(key.strip_prefix(XATTR).unwrap_or(key));
                    (name, Cow::from(&**value))
                }
            };
            match fsetxattr(&file, name.as_str(), &value, XattrFlags::empty()) {
                Err(error) if REFUSALS.contains(&error) => refused.push(name),
                other => other?,
            }
        }
        Ok(refused)
    }

    /// Takes a PAX record if it is one of these: `Ok(false)`, it is another. An error when it makes no sense or there are
    /// too many.
    pub(crate) fn add(&mut self, key: &str, value: &[u8]) -> Result<bool, &'static str> {
        let is_list = ACLS.iter().any(|(acl, _)| *acl == key);
        let is_users = key.strip_prefix(USER).is_some_and(|name| !name.is_empty());
        if !is_list && !is_users {
            return Ok(false);
        }
        if key.contains('\0') {
            return Err("the name of an attribute has a zero in it");
        }
        // Other programs write lists in other ways.
        let list = match is_list {
            true => Some(same_list(value).ok_or("an access control list makes no sense")?),
            false => None,
        };
        let value = list.as_deref().map_or(value, str::as_bytes);
        let is_mode = |list: &str| list.split(',').count() == MODE_ENTRIES;
        if key == ACLS[0].0 && list.as_deref().is_some_and(is_mode) {
            // GNU tar writes the mode so, too.
            return Ok(true);
        }
        self.0.insert(key.into(), value.into());
        if self.0.len() > MOST || self.bytes() > MOST_BYTES {
            return Err("an entry has too many extended attributes");
        }
        Ok(true)
    }

    pub(crate) fn records(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.0.iter().map(|(key, value)| (&**key, &**value))
    }

    /// As the manifest has it: over the PAX records, by their keys in order. None: there are none.
    pub(crate) fn digest(&self) -> Option<Sha256> {
        if self.0.is_empty() {
            return None;
        }
        let mut records = Vec::new();
        for (key, value) in self.records() {
            pax::push(&mut records, key, value);
        }
        Some(Sha256(sha2::Sha256::digest(&records).into()))
    }

    fn bytes(&self) -> usize {
        let lengths = self.0.iter().map(|(key, value)| key.len() + value.len());
        lengths.sum()
    }
}

impl Allowance {
    pub(crate) fn new() -> Self {
        Self(MOST_IN_ALL)
    }

    /// False: that is too much.
    pub(crate) fn take(&mut self, it: &Attributes) -> bool {
        let left = self.0.checked_sub(it.bytes());
        self.0 = left.unwrap_or(self.0);
        left.is_some()
    }

    /// Lets through what there is room for.
    pub(crate) fn pass(&mut self, (it, why): Read) -> Read {
        if self.take(&it) {
            return (it, why);
        }
        let why = "its extended attributes are left out: there are too many in the folder";
        (Attributes::default(), Some(why.into()))
    }
}

fn read(file: impl AsFd) -> Result<Attributes, String> {
    let mut found = Attributes::default();
    let length = match flistxattr_query(&file) {
        Ok(0) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => return Ok(found),
        Ok(length) => length,
        Err(error) => return Err(error.to_string()),
    };
    // Some may have come since.
    let mut names = vec![0; length + 1024];
    let length = flistxattr(&file, &mut names[..]).map_err(|error| error.to_string())?;
    let mut buffer = vec![0; MOST_BYTES];
    for name in names[..length].split(|byte| *byte == 0) {
        let list = ACLS.iter().find(|(_, system)| system.as_bytes() == name);
        if list.is_none() && !name.starts_with(b"user.") {
            continue;
        }
        let name = std::str::from_utf8(name).map_err(|_| "a name is not UTF-8".to_owned())?;
        let value = match fgetxattr(&file, name, &mut buffer[..]) {
            Ok(length) => &buffer[..length],
            Err(Errno::NODATA) => continue,
            Err(Errno::RANGE) => return Err("they are too long".to_owned()),
            Err(error) => return Err(error.to_string()),
        };
        let added = match list {
            Some((key, _)) => {
                let text = acl::to_text(value).ok_or("an access control list makes no sense")?;
                found.add(key, text.as_bytes())
            }
            None => found.add(&format!("{XATTR}{}", encoded(name)), value),
        };
        added?;
    }
    Ok(found)
}

/// The list as we write it.
fn same_list(text: &[u8]) -> Option<String> {
    let bytes = acl::from_text(std::str::from_utf8(text).ok()?)?;
    acl::to_text(&bytes)
}

/// A key ends at the first "=". GNU tar writes it so.
fn encoded(name: &str) -> String {
    name.replace('%', "%25").replace('=', "%3D")
}

fn decoded(name: &str) -> String {
    name.replace("%3D", "=").replace("%25", "%")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back_whatever_they_hold() {
        for name in ["user.a", "user.a=b", "user.%3D", "user.%253D=%", "user.ü"] {
            assert!(!encoded(name).contains('='));
            assert_eq!(decoded(&encoded(name)), name);
        }
    }

    #[test]
    fn others_are_not_taken_and_too_many_are_refused() {
        let mut it = Attributes::default();
        for key in [
            "SCHILY.xattr.security.capability",
            "SCHILY.xattr.trusted.x",
            "SCHILY.xattr.system.posix_acl_access",
            "SCHILY.xattr.user.",
            "LIBARCHIVE.xattr.user.a",
            "SCHILY.acl.nfs4",
            "mtime",
        ] {
            assert_eq!(it.add(key, b"x"), Ok(false), "{key}");
        }
        assert_eq!(it.digest(), None);
        assert!(it.add("SCHILY.acl.access", b"nonsense").is_err());
        assert_eq!(it.add("SCHILY.xattr.user.a", b"x"), Ok(true));
        assert!(it.digest().is_some());
        assert!(it.add("SCHILY.xattr.user.b", &vec![0; MOST_BYTES]).is_err());
        let mut many = Attributes::default();
        let added = (0..=MOST).map(|n| many.add(&format!("SCHILY.xattr.user.{n}"), b""));
        assert_eq!(added.filter(Result::is_err).count(), 1);
    }
}
