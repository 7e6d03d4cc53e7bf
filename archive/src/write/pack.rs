//! Items into the tar stream.
use std::{collections::HashSet, fs::File, io, os::unix::fs::FileExt};

use ::tar::EntryType;
use rustix::fs::{FileType, fstat, readlinkat};

use super::{
    judge::{is_quiet, is_settled, is_sqlite, sqlite_base, trouble},
    passes::Step,
    spool::{Copied, Spool},
};
use crate::{
    DATA, Error, Folder, Progress,
    attributes::{self, Allowance, Attributes},
    content::{Extents, Hasher, extents},
    error::During,
    gzip::Compressor,
    link::leads_out,
    scan::{Item, Noted, Sort, Stamp, Taken},
    tar::{Head, encode, padding},
};

pub(super) struct Packer<'a> {
    folder: &'a Folder,
    pub(super) out: Compressor,
    progress: &'a Progress,
    /// Paths of databases.
    sqlite: HashSet<Box<str>>,
    allowance: Allowance,
}

/// What a file's entry is made of.
struct Content<'f> {
    file: &'f File,
    /// Where it begins in a spool; there its extents lie one after the other.
    base: Option<u64>,
    extents: Option<Extents>,
    attributes: Attributes,
}

/// Where files are read from.
pub(super) enum Source<'s> {
    /// `defer`: SQLite files in use are left for the freeze.
    Live {
        defer: bool,
    },
    Spool(&'s Spool),
}

impl<'a> Packer<'a> {
    pub(super) fn new(folder: &'a Folder, out: Compressor, progress: &'a Progress) -> Self {
        Self {
            folder,
            out,
            progress,
            sqlite: HashSet::new(),
            allowance: Allowance::new(),
        }
    }

    /// It began like an SQLite database when it was opened.
    pub(super) fn is_database(&self, path: &str) -> bool {
        self.sqlite.contains(path)
    }

    pub(super) fn into_compressor(self) -> Compressor {
        self.out
    }

    pub(super) fn pass(
        &mut self,
        items: &mut [Item],
        steps: &[Step],
        source: &Source<'_>,
    ) -> Result<(), Error> {
        for step in steps {
            self.progress.go_on()?;
            let first = step.first.map(|first| &items[first]);
            let first = first.and_then(|first| match &first.taken {
                Some(Taken::File { .. }) => Some(Taken::HardLink(first.path.clone())),
                Some(Taken::Skipped(reason)) => Some(Taken::Skipped(reason.clone())),
                // It went; then this name stands for the content.
                _ => None,
            });
            let item = &mut items[step.item];
            match (item.sort, first) {
                (Sort::Folder, _) => self.folder(item, source, step.item)?,
                (Sort::Symlink, _) => self.symlink(item, source)?,
                (Sort::File, Some(as_first)) => self.other_name(item, as_first)?,
                (Sort::File, None) => match source {
                    Source::Live { defer } => self.live(item, *defer)?,
                    Source::Spool(spool) => self.spooled(item, spool, step.item)?,
                },
            }
        }
        Ok(())
    }

    /// What a symbolic link is now: its target, or why it is skipped; None: it is gone.
    pub(super) fn target(&self, item: &Item) -> Result<Option<Taken>, Error> {
        let (above, name) = item.path.rsplit_once('/').unwrap_or(("", &item.path));
        let read = self.folder.open_folder(above);
        let read = read.and_then(|above| Ok(readlinkat(above, name, Vec::new())?));
        let target = match read {
            Ok(target) => target.into_string(),
            // No link any more.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => return Ok(None),
            Err(error) => return trouble(item, error),
        };
        Ok(Some(match target {
            Ok(target) => match leads_out(&item.path, &target) {
                None => Taken::Symlink(target.into()),
                Some(reason) => Taken::Skipped(reason.into()),
            },
            Err(_) => Taken::Skipped("the link's target is not UTF-8".into()),
        }))
    }

    fn folder(&mut self, item: &mut Item, source: &Source<'_>, index: usize) -> Result<(), Error> {
        let path = match &*item.path {
            "" => format!("{DATA}/"),
            path => format!("{DATA}/{path}/"),
        };
        let read = match source {
            // One that is gone has none.
            Source::Live { .. } => self
                .folder
                .open_folder(&item.path)
                .map(Attributes::of)
                .unwrap_or_default(),
            Source::Spool(spool) => spool.attributes_of(index),
        };
        let attributes = self.note(item, read);
        let mut head = head_of(&item.stamp, &path, &attributes);
        head.kind = EntryType::Directory;
        self.put(&head)?;
        item.taken = Some(Taken::Folder);
        item.current = true;
        Ok(())
    }

    fn symlink(&mut self, item: &mut Item, source: &Source<'_>) -> Result<(), Error> {
        if let Source::Live { .. } = source {
            item.taken = self.target(item)?;
        }
        if let Some(Taken::Symlink(target)) = item.taken.clone() {
            let path = format!("{DATA}/{}", item.path);
            self.head(item, EntryType::Symlink, &path, &target)?;
        }
        item.current = item.taken.is_some();
        Ok(())
    }

    fn other_name(&mut self, item: &mut Item, as_first: Taken) -> Result<(), Error> {
        if let Taken::HardLink(first) = &as_first {
            let path = format!("{DATA}/{}", item.path);
            let target = format!("{DATA}/{first}");
            self.head(item, EntryType::Link, &path, &target)?;
        }
        item.taken = Some(as_first);
        item.current = true;
        Ok(())
    }

    /// Remembers what of them the archive holds, and gives that.
    fn note(&mut self, item: &mut Item, read: attributes::Read) -> Attributes {
        let (attributes, dropped) = self.allowance.pass(read);
        let digest = attributes.digest();
        let any = digest.is_some() || dropped.is_some();
        item.attributes = any.then(|| Box::new(Noted { digest, dropped }));
        attributes
    }

    /// Of a link, which has no attributes of its own.
    fn head(
        &mut self,
        item: &mut Item,
        kind: EntryType,
        path: &str,
        target: &str,
    ) -> Result<(), Error> {
        item.attributes = None;
        let attributes = Attributes::default();
        let mut head = head_of(&item.stamp, path, &attributes);
        (head.kind, head.target) = (kind, target);
        self.put(&head)
    }

    pub(super) fn put(&mut self, head: &Head<'_>) -> Result<(), Error> {
        let blocks = encode(head).during(|| format!("archiving '{}'", head.path))?;
        self.out.write(&blocks).during(writing)
    }

    fn live(&mut self, item: &mut Item, defer: bool) -> Result<(), Error> {
        item.taken = None;
        let (file, stat) = match self.folder.open_file(&item.path) {
            Ok(opened) => opened,
            Err(error) => {
                item.taken = trouble(item, error)?;
                item.current = item.taken.is_some();
                return Ok(());
            }
        };
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Ok(());
        }
        item.stamp = Stamp::of(&stat);
        let settled = is_settled(&item.stamp);
        let base = sqlite_base(&item.path).is_some_and(|base| self.is_database(base));
        if is_sqlite(&file, item.stamp.size) {
            self.sqlite.insert(item.path.clone());
            item.sqlite = true;
        }
        if defer && (item.sqlite || base) && !is_quiet(&item.stamp) {
            return Ok(());
        }
        let size = item.stamp.size;
        let extents = if item.disk_bytes < size {
            extents(&file, size, &mut || self.progress.go_on())?
        } else {
            None
        };
        if let Some(extents) = &extents {
            let data: u64 = extents.iter().map(|(_, length)| length).sum();
            if data > item.disk_bytes.saturating_mul(2) + MOST_ZEROS {
                item.taken = Some(Taken::Skipped("it has too many holes".into()));
                item.current = true;
                return Ok(());
            }
        }
        let attributes = self.note(item, Attributes::of(&file));
        let content = Content {
            file: &file,
            base: None,
            extents,
            attributes,
        };
        let whole = self.content(item, content)?;
        let after = fstat(&file).during(|| format!("reading '{}'", item.path))?;
        let skipped = matches!(item.taken, Some(Taken::Skipped(_)));
        item.current = skipped || whole && settled && Stamp::of(&after) == item.stamp;
        Ok(())
    }

    fn spooled(&mut self, item: &mut Item, spool: &Spool, index: usize) -> Result<(), Error> {
        match spool.of(index) {
            Copied::Not(taken) => {
                item.taken = taken.clone();
                item.current = taken.is_some();
            }
            Copied::At {
                offset,
                extents,
                sqlite,
            } => {
                item.sqlite = *sqlite;
                let content = Content {
                    file: spool.file(),
                    base: Some(*offset),
                    extents: extents.clone(),
                    attributes: self.note(item, spool.attributes_of(index)),
                };
                self.content(item, content)?;
                item.current = true;
            }
        }
        Ok(())
    }

    /// Writes the header and just as many bytes as it says. False: the file was shorter, and zeros stand for the rest.
    fn content(&mut self, item: &mut Item, content: Content<'_>) -> Result<bool, Error> {
        let Content {
            file,
            base,
            extents,
            attributes,
        } = content;
        let size = item.stamp.size;
        let path = format!("{DATA}/{}", item.path);
        let mut head = head_of(&item.stamp, &path, &attributes);
        (head.size, head.extents) = (size, extents.as_ref());
        self.put(&head)?;
        let mut hasher = Hasher::new(extents.is_some());
        let mut stored = 0;
        let mut whole = true;
        let mut skipped = None;
        for (offset, length) in extents.as_deref().unwrap_or(&[(0, size)]) {
            let from = base.map_or(*offset, |base| base + stored);
            let read = self.range(file, from, (*offset, *length), &mut hasher);
            match read {
                Ok(all) => whole &= all,
                Err(Range::Out(error)) => return Err(error),
                Err(Range::In(error)) => {
                    whole = false;
                    let reason = format!("it cannot be read to the end: {error}");
                    skipped = Some(Taken::Skipped(reason.into()));
                }
            }
            stored += length;
        }
        self.out.zeros(padding(stored)).during(writing)?;
        item.taken = skipped.or(Some(Taken::File {
            sha256: hasher.finish(size),
            sparse: extents.is_some(),
        }));
        Ok(whole)
    }

    fn range(
        &mut self,
        file: &File,
        from: u64,
        (offset, length): (u64, u64),
        hasher: &mut Hasher,
    ) -> Result<bool, Range> {
        let out = |error| Range::Out(Error::io("writing the archive", error));
        let mut done = 0;
        let mut whole = true;
        while done < length {
            self.progress.go_on().map_err(Range::Out)?;
            let space = self.out.space();
            let count = usize::try_from(length - done).unwrap_or(usize::MAX);
            let count = count.min(space.len());
            let space = &mut space[..count];
            let read = match file.read_at(space, from + done) {
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    self.out.zeros(length - done).map_err(out)?;
                    return Err(Range::In(error));
                }
            };
            if read == 0 {
                // It shrank. The zeros belong to what is archived now, so to its hash.
                space.fill(0);
                whole = false;
            }
            let now = if read == 0 { count } else { read };
            hasher.update(offset + done, &space[..now]);
            self.out.filled(now).map_err(out)?;
            self.progress.done(now as u64);
            done += now as u64;
        }
        Ok(whole)
    }
}

/// Zeros that stand for small holes.
const MOST_ZEROS: u64 = 1 << 30;

/// On which side reading and writing failed.
enum Range {
    In(io::Error),
    Out(Error),
}

pub(super) fn writing() -> String {
    "writing the archive".into()
}

fn head_of<'h>(stamp: &Stamp, path: &'h str, attributes: &'h Attributes) -> Head<'h> {
    Head {
        path,
        kind: EntryType::Regular,
        target: "",
        size: 0,
        extents: None,
        mode: stamp.permissions(),
        uid: stamp.uid,
        gid: stamp.gid,
        mtime: stamp.mtime,
        attributes,
    }
}
