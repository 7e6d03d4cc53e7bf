//! The strict scan: what each entry is called and does, and what the folder comes to.
use std::{
    collections::BTreeMap,
    io::{self, Read},
};

use super::compare::compare;
use crate::{
    DATA, Error, Kind, MANIFEST, Manifest, Mtime, Progress, Sha256,
    attributes::{Allowance, Attributes},
    content::{Extents, Hasher},
    link::leads_out,
    tar::{Found, FoundKind, Reader},
};

/// What is done with the entries, each of which was found harmless; a folder comes before what is in it.
pub(super) trait Sink {
    fn folder(&mut self, _path: &str) -> Result<(), Error> {
        Ok(())
    }
    /// Then come its data and [`Sink::end`].
    fn begin(&mut self, _path: &str) -> Result<(), Error> {
        Ok(())
    }
    fn data(&mut self, _offset: u64, _bytes: &[u8]) -> Result<(), Error> {
        Ok(())
    }
    fn end(&mut self, _path: &str, _size: u64, _of: (&Meta, &Attributes)) -> Result<(), Error> {
        Ok(())
    }
    fn symlink(&mut self, _path: &str, _target: &str, _meta: &Meta) -> Result<(), Error> {
        Ok(())
    }
    fn hard_link(&mut self, _path: &str, _target: &str) -> Result<(), Error> {
        Ok(())
    }
    /// A folder is empty by then.
    fn remove(&mut self, _path: &str, _folder: bool) -> Result<(), Error> {
        Ok(())
    }
    /// After all entries were found as the manifest says, and others removed.
    fn finish(&mut self, _tree: &Tree) -> Result<(), Error> {
        Ok(())
    }
}

/// By path, the archived folder itself as ".".
pub(super) type Tree = BTreeMap<String, Node>;

pub(super) struct Node {
    pub(super) kind: Kind,
    pub(super) meta: Meta,
    /// Which entry of the tar made it; a hard link has its file's.
    pub(super) made_by: u64,
    /// It stands in the manifest.
    pub(super) listed: bool,
    /// Of its attributes.
    pub(super) digest: Option<Box<Sha256>>,
    /// Of a folder, which gets them last.
    pub(super) attributes: Attributes,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Meta {
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) mtime: Mtime,
}

pub(super) struct Scan<'a> {
    reader: Reader,
    sink: &'a mut dyn Sink,
    tree: Tree,
    entries: u64,
    limit: u64,
    /// What a manifest of these entries takes at most.
    manifest_bytes: u64,
    allowance: Allowance,
}

/// "." in the tree, and where top-level names are.
pub(super) const ROOT: &str = ".";

impl<'a> Scan<'a> {
    pub(super) fn new(reader: Reader, limit: u64, sink: &'a mut dyn Sink) -> Self {
        Self {
            reader,
            sink,
            tree: Tree::new(),
            entries: 0,
            limit,
            manifest_bytes: 1 << 20,
            allowance: Allowance::new(),
        }
    }

    pub(super) fn run(mut self, progress: &Progress) -> Result<Manifest, Error> {
        let manifest = loop {
            progress.go_on()?;
            let Some(found) = self.reader.next()? else {
                return Err(Error::WrongFormat("it has no manifest".into()));
            };
            self.entries += 1;
            if self.entries > self.limit {
                let what = format!("it holds more than the allowed {} entries", self.limit);
                return Err(Error::TooBig(what));
            }
            let Some(path) = place(&found)? else { continue };
            if path == MANIFEST {
                break self.manifest(&found)?;
            }
            self.entry(path, found)?;
        };
        if let Some(more) = self.reader.next()? {
            return Err(Error::refused(more.path, "it comes after the manifest"));
        }
        let extra = compare(&mut self.tree, &manifest)?;
        for path in extra.iter().rev() {
            self.forget(path)?;
        }
        self.sink.finish(&self.tree)?;
        Ok(manifest)
    }

    fn entry(&mut self, path: String, found: Found) -> Result<(), Error> {
        let path = match path.strip_prefix(DATA).map(|rest| rest.strip_prefix('/')) {
            Some(None) if path == DATA => ROOT.to_owned(),
            Some(Some(rest)) => rest.to_owned(),
            _ => return Err(Error::refused(&found.path, "it is outside of data/")),
        };
        self.above(&path, &found)?;
        self.manifest_bytes += 6 * (path.len() as u64) + 512;
        let meta = Meta {
            mode: found.mode,
            uid: found.uid,
            gid: found.gid,
            mtime: found.mtime,
        };
        let mut made_by = self.entries;
        let mut attributes = found.attributes;
        if !self.allowance.take(&attributes) {
            return Err(Error::TooBig(
                "it holds too many extended attributes".into(),
            ));
        }
        let mut digest = attributes.digest().map(Box::new);
        let kind = match found.kind {
            FoundKind::Other(what) => return Err(Error::refused(&found.path, what)),
            FoundKind::Folder => {
                if !self.is_folder(&path) {
                    self.replace(&path)?;
                    self.sink.folder(&path)?;
                }
                Kind::Folder
            }
            _ if path == ROOT => return Err(Error::refused(&found.path, "data is no folder")),
            FoundKind::File { size, extents } => {
                self.replace(&path)?;
                self.file(&path, (size, extents), (&meta, &attributes))?
            }
            FoundKind::Symlink(target) => {
                let target = utf8(target, &found.path)?;
                if let Some(reason) = leads_out(&path, &target) {
                    return Err(Error::refused(&found.path, reason));
                }
                self.manifest_bytes += 6 * target.len() as u64;
                self.replace(&path)?;
                self.sink.symlink(&path, &target, &meta)?;
                Kind::Symlink { target }
            }
            FoundKind::HardLink(target) => {
                let (target, from) = self.hard_link(&path, target, &found.path)?;
                made_by = from;
                let file = self.tree.get(&target);
                digest = file.and_then(|file| file.digest.clone());
                Kind::HardLink { target }
            }
        };
        if kind != Kind::Folder {
            attributes = Attributes::default();
        }
        let node = Node {
            kind,
            meta,
            made_by,
            listed: false,
            digest,
            attributes,
        };
        self.tree.insert(path, node);
        Ok(())
    }

    /// The folder that an entry is in was made before, and is no link.
    fn above(&self, path: &str, found: &Found) -> Result<(), Error> {
        let above = match path.rsplit_once('/') {
            _ if path == ROOT => return Ok(()),
            Some((above, _)) => above,
            None => ROOT,
        };
        match self.tree.get(above).map(|node| &node.kind) {
            Some(Kind::Folder) => Ok(()),
            Some(Kind::Symlink { .. }) => {
                Err(Error::refused(&found.path, "it is below a symbolic link"))
            }
            Some(_) => Err(Error::refused(&found.path, "it is below a file")),
            None => Err(Error::refused(
                &found.path,
                "its folder does not stand before it",
            )),
        }
    }

    fn file(
        &mut self,
        path: &str,
        (size, extents): (u64, Option<Extents>),
        of: (&Meta, &Attributes),
    ) -> Result<Kind, Error> {
        let sparse = extents.is_some();
        let mut hasher = Hasher::new(sparse);
        self.sink.begin(path)?;
        let mut extents = extents.unwrap_or_else(|| vec![(0, size)]).into_iter();
        let (mut offset, mut left) = (0, 0);
        while let Some(mut piece) = self.reader.data()? {
            while !piece.is_empty() {
                // The map was verified: it has just as many bytes as the data.
                while left == 0 {
                    (offset, left) = extents.next().unwrap_or((offset, u64::MAX));
                }
                let count = usize::try_from(left).unwrap_or(usize::MAX).min(piece.len());
                let (now, rest) = piece.split_at(count);
                hasher.update(offset, now);
                self.sink.data(offset, now)?;
                offset += count as u64;
                left -= count as u64;
                piece = rest;
            }
        }
        self.sink.end(path, size, of)?;
        Ok(Kind::File {
            size,
            sha256: hasher.finish(size),
            sparse,
        })
    }

    fn hard_link(
        &mut self,
        path: &str,
        target: Vec<u8>,
        entry: &[u8],
    ) -> Result<(String, u64), Error> {
        let outside = || Error::refused(entry, "it is a hard link to outside of the folder");
        let target = utf8(target, entry)?;
        let target = target.strip_prefix("./").unwrap_or(&target);
        let target = target
            .strip_prefix(DATA)
            .and_then(|rest| rest.strip_prefix('/'))
            .ok_or_else(outside)?;
        let from = match self.tree.get(target) {
            Some(node) if matches!(node.kind, Kind::File { .. }) && target != path => node.made_by,
            // Such a name was checked when it came, so this covers `..` too.
            _ => {
                return Err(Error::refused(
                    entry,
                    "it is a hard link to no file before it",
                ));
            }
        };
        self.manifest_bytes += 6 * target.len() as u64;
        let target = target.to_owned();
        self.replace(path)?;
        self.sink.hard_link(path, &target)?;
        Ok((target, from))
    }

    fn is_folder(&self, path: &str) -> bool {
        matches!(
            self.tree.get(path).map(|node| &node.kind),
            Some(Kind::Folder)
        )
    }

    /// The later entry counts: what an earlier one made goes, a folder with all that is in it.
    fn replace(&mut self, path: &str) -> Result<(), Error> {
        if self.is_folder(path) {
            let prefix = format!("{path}/");
            let below = self.tree.range(prefix.clone()..);
            let below = below.take_while(|(other, _)| other.starts_with(&prefix));
            let below: Vec<String> = below.map(|(other, _)| other.clone()).collect();
            for other in below.iter().rev() {
                self.forget(other)?;
            }
        }
        self.forget(path)
    }

    fn forget(&mut self, path: &str) -> Result<(), Error> {
        match self.tree.remove(path) {
            Some(node) => self.sink.remove(path, node.kind == Kind::Folder),
            None => Ok(()),
        }
    }

    fn manifest(&mut self, found: &Found) -> Result<Manifest, Error> {
        match found.kind {
            FoundKind::File {
                size,
                extents: None,
            } if size <= self.manifest_bytes => {}
            FoundKind::File { .. } => {
                return Err(Error::TooBig(
                    "its manifest is longer than its entries need".into(),
                ));
            }
            _ => return Err(Error::refused(&found.path, "the manifest is no file")),
        }
        let mut data = Data {
            reader: &mut self.reader,
            failed: None,
        };
        let read = serde_json::from_reader(io::BufReader::new(&mut data));
        match (read, data.failed) {
            (_, Some(error)) => Err(error),
            (Ok(manifest), None) => Ok(manifest),
            (Err(error), None) => Err(Error::damaged(format!(
                "its manifest cannot be read ({error})"
            ))),
        }
    }
}

/// The current entry's data for a parser.
struct Data<'a> {
    reader: &'a mut Reader,
    failed: Option<Error>,
}

impl Read for Data<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self.reader.some_data(into.len()) {
            Ok(piece) => {
                into[..piece.len()].copy_from_slice(piece);
                Ok(piece.len())
            }
            Err(error) => {
                self.failed = Some(error);
                Err(io::ErrorKind::Other.into())
            }
        }
    }
}

/// An entry's path, relative and without trickery; None: it is the top itself, as `tar c .` has it.
fn place(found: &Found) -> Result<Option<String>, Error> {
    let refuse = |reason: &str| Error::refused(&found.path, reason);
    let path = utf8(found.path.clone(), &found.path)?;
    if path.starts_with('/') {
        return Err(refuse("its name is absolute"));
    }
    let path = path.strip_prefix("./").unwrap_or(&path);
    let path = match found.kind {
        FoundKind::Folder => path.strip_suffix('/').unwrap_or(path),
        _ => path,
    };
    if matches!(path, "" | ".") && matches!(found.kind, FoundKind::Folder) {
        return Ok(None);
    }
    if path.len() > 4096 {
        return Err(refuse("its name is too long"));
    }
    for part in path.split('/') {
        match part {
            ".." => return Err(refuse("its name leads upward")),
            "" | "." => return Err(refuse("its name has an empty part")),
            _ if part.contains('\0') => return Err(refuse("its name has a zero in it")),
            _ if part.len() > 255 => return Err(refuse("a part of its name is too long")),
            _ => {}
        }
    }
    Ok(Some(path.to_owned()))
}

fn utf8(bytes: Vec<u8>, entry: &[u8]) -> Result<String, Error> {
    let text = String::from_utf8(bytes)
        .ok()
        .filter(|text| !text.contains('\0'));
    text.ok_or_else(|| Error::refused(entry, "a name is not UTF-8"))
}
