//! Items into the tar stream.
use std::{
    collections::HashSet,
    fs::File,
    io::{self, Write},
    os::unix::fs::FileExt,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use ::tar::EntryType;
use rustix::{
    fs::{FileType, fstat, readlinkat},
    io::Errno,
};

use super::{
    passes::{Step, is_quiet},
    spool::{Copied, Spool},
};
use crate::{
    DATA, Error, Folder, MANIFEST, Manifest, Mtime, Progress,
    content::{Extents, Hasher, extents},
    error::During,
    gzip::Compressor,
    link::leads_out,
    scan::{Item, Sort, Stamp, Taken},
    tar::{Head, encode, padding},
};

pub(super) struct Packer<'a> {
    folder: &'a Folder,
    out: Compressor,
    progress: &'a Progress,
    /// Paths of databases.
    sqlite: HashSet<Box<str>>,
}

/// Where files are read from.
pub(super) enum Source<'s> {
    /// `defer`: SQLite files in use are left for the freeze.
    Live {
        defer: bool,
    },
    Spool(&'s Spool),
}

/// What an error of opening or reading a file means.
pub(super) enum Trouble {
    Gone,
    Skip,
    Fatal,
}

impl Trouble {
    pub(super) fn of(error: &io::Error) -> Self {
        match Errno::from_io_error(error) {
            // Exchanged for a link or a folder: as good as gone.
            Some(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::ISDIR | Errno::NXIO) => {
                Trouble::Gone
            }
            Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM) => Trouble::Fatal,
            _ => Trouble::Skip,
        }
    }
}

/// The kernel's clock for stamps ticks every 1 to 10 ms: a file that was written to just now may be so again without a trace.
pub(super) const TICK: Duration = Duration::from_millis(50);

/// The database that a file beside it belongs to, by its name.
pub(super) fn sqlite_base(path: &str) -> Option<&str> {
    let endings = ["-wal", "-shm", "-journal"];
    endings.iter().find_map(|ending| path.strip_suffix(ending))
}

/// Pages are of 512 bytes at least.
pub(super) fn is_sqlite(file: &File, size: u64) -> bool {
    let mut head = [0; 16];
    let whole = size > 0 && size.is_multiple_of(512);
    whole && file.read_exact_at(&mut head, 0).is_ok() && head == *b"SQLite format 3\0"
}

impl<'a> Packer<'a> {
    pub(super) fn new(folder: &'a Folder, out: Compressor, progress: &'a Progress) -> Self {
        Self {
            folder,
            out,
            progress,
            sqlite: HashSet::new(),
        }
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
            // Without its first name it stands for itself.
            let first = first.filter(|first| matches!(first.taken, Some(Taken::File { .. })));
            let first = first.map(|first| first.path.clone());
            let item = &mut items[step.item];
            match (item.sort, first) {
                (Sort::Folder, _) => self.folder(item)?,
                (Sort::Symlink, _) => self.symlink(item, source)?,
                (Sort::File, Some(first)) => self.hard_link(item, first)?,
                (Sort::File, None) => match source {
                    Source::Live { defer } => self.live(item, *defer)?,
                    Source::Spool(spool) => self.spooled(item, spool, step.item)?,
                },
            }
        }
        Ok(())
    }

    /// A symbolic link's target; None: it is gone, or not to be taken (which the item tells then).
    pub(super) fn target(&self, item: &mut Item) -> Result<Option<Box<str>>, Error> {
        let (above, name) = item.path.rsplit_once('/').unwrap_or(("", &item.path));
        let read = self.folder.open_folder(above);
        let read = read.and_then(|above| Ok(readlinkat(above, name, Vec::new())?));
        let mut skip = |reason: String| {
            item.skip = Some(reason.into());
            item.taken = None;
            item.current = true;
        };
        let target = match read {
            Ok(target) => target.into_string(),
            Err(error) => {
                match Trouble::of(&error) {
                    Trouble::Gone => {}
                    // No link any more.
                    Trouble::Skip if error.kind() == io::ErrorKind::InvalidInput => {}
                    Trouble::Skip => skip(format!("it cannot be read: {error}")),
                    Trouble::Fatal => {
                        return Err(Error::io(format!("reading '{}'", item.path), error));
                    }
                }
                return Ok(None);
            }
        };
        match target {
            Ok(target) => match leads_out(&item.path, &target) {
                None => return Ok(Some(target.into())),
                Some(reason) => skip(reason.into()),
            },
            Err(_) => skip("the link's target is not UTF-8".into()),
        }
        Ok(None)
    }

    fn folder(&mut self, item: &mut Item) -> Result<(), Error> {
        let path = match &*item.path {
            "" => format!("{DATA}/"),
            path => format!("{DATA}/{path}/"),
        };
        self.head(item, EntryType::Directory, &path, "")?;
        item.taken = Some(Taken::Folder);
        item.current = true;
        Ok(())
    }

    fn symlink(&mut self, item: &mut Item, source: &Source<'_>) -> Result<(), Error> {
        let target = match (source, &item.taken) {
            (Source::Spool(_), Some(Taken::Symlink(target))) => Some(target.clone()),
            (Source::Spool(_), _) => None,
            (Source::Live { .. }, _) => self.target(item)?,
        };
        let Some(target) = target else { return Ok(()) };
        let path = format!("{DATA}/{}", item.path);
        self.head(item, EntryType::Symlink, &path, &target)?;
        item.taken = Some(Taken::Symlink(target));
        item.current = true;
        Ok(())
    }

    fn hard_link(&mut self, item: &mut Item, first: Box<str>) -> Result<(), Error> {
        let path = format!("{DATA}/{}", item.path);
        let target = format!("{DATA}/{first}");
        self.head(item, EntryType::Link, &path, &target)?;
        item.taken = Some(Taken::HardLink(first));
        item.current = true;
        Ok(())
    }

    fn head(
        &mut self,
        item: &Item,
        kind: EntryType,
        path: &str,
        target: &str,
    ) -> Result<(), Error> {
        let mut head = head_of(&item.stamp, path);
        (head.kind, head.target) = (kind, target);
        self.put(&head)
    }

    fn put(&mut self, head: &Head<'_>) -> Result<(), Error> {
        let blocks = encode(head).during(|| format!("archiving '{}'", head.path))?;
        self.out.write(&blocks).during(writing)
    }

    fn live(&mut self, item: &mut Item, defer: bool) -> Result<(), Error> {
        let (file, stat) = match self.folder.open_file(&item.path) {
            Ok(opened) => opened,
            Err(error) => {
                match Trouble::of(&error) {
                    Trouble::Gone => item.current = false,
                    Trouble::Skip => skip(item, format!("it cannot be read: {error}")),
                    Trouble::Fatal => {
                        return Err(Error::io(format!("opening '{}'", item.path), error));
                    }
                }
                return Ok(());
            }
        };
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Ok(());
        }
        item.stamp = Stamp::of(&stat);
        let settled = is_settled(&item.stamp);
        let base = sqlite_base(&item.path).is_some_and(|base| self.sqlite.contains(base));
        if is_sqlite(&file, item.stamp.size) {
            self.sqlite.insert(item.path.clone());
            item.sqlite = true;
        }
        if defer && (item.sqlite || base) && !is_quiet(&item.stamp) {
            return Ok(());
        }
        let size = item.stamp.size;
        let extents = if item.disk_bytes < size {
            extents(&file, size).during(|| format!("reading '{}'", item.path))?
        } else {
            None
        };
        if let Some(extents) = &extents {
            let data: u64 = extents.iter().map(|(_, length)| length).sum();
            if data > item.disk_bytes.saturating_mul(2) + MOST_ZEROS {
                skip(item, "it has too many holes".into());
                return Ok(());
            }
        }
        let whole = self.content(item, &file, None, extents)?;
        let after = fstat(&file).during(|| format!("reading '{}'", item.path))?;
        item.current = item.skip.is_some() || whole && settled && Stamp::of(&after) == item.stamp;
        Ok(())
    }

    fn spooled(&mut self, item: &mut Item, spool: &Spool, index: usize) -> Result<(), Error> {
        match spool.of(index) {
            Copied::Gone => item.taken = None,
            Copied::Failed(reason) => skip(item, reason.clone()),
            Copied::At {
                offset,
                extents,
                sqlite,
            } => {
                item.sqlite = *sqlite;
                self.content(item, spool.file(), Some(*offset), extents.clone())?;
                item.current = true;
            }
        }
        Ok(())
    }

    /// Writes the header and just as many bytes as it says. In a spool the extents lie one after the other from `base` on.
    /// False: the file was shorter, and zeros stand for the rest.
    fn content(
        &mut self,
        item: &mut Item,
        file: &File,
        base: Option<u64>,
        extents: Option<Extents>,
    ) -> Result<bool, Error> {
        let size = item.stamp.size;
        let path = format!("{DATA}/{}", item.path);
        let mut head = head_of(&item.stamp, &path);
        (head.size, head.extents) = (size, extents.as_ref());
        self.put(&head)?;
        let mut hasher = Hasher::new(extents.is_some());
        let mut stored = 0;
        let mut whole = true;
        for (offset, length) in extents.as_deref().unwrap_or(&[(0, size)]) {
            let from = base.map_or(*offset, |base| base + stored);
            let read = self.range(file, from, (*offset, *length), &mut hasher);
            match read {
                Ok(all) => whole &= all,
                Err(Range::Out(error)) => return Err(error),
                Err(Range::In(error)) => {
                    whole = false;
                    skip(item, format!("it cannot be read to the end: {error}"));
                }
            }
            stored += length;
        }
        self.out.zeros(padding(stored)).during(writing)?;
        if item.skip.is_none() {
            item.taken = Some(Taken::File {
                size,
                sha256: hasher.finish(size),
                sparse: extents.is_some(),
            });
        }
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

    pub(super) fn manifest(&mut self, manifest: &Manifest) -> Result<(), Error> {
        let mut count = Count(0);
        let failed = |error: serde_json::Error| Error::io("writing the manifest", error.into());
        serde_json::to_writer(&mut count, manifest).map_err(failed)?;
        self.put(&Head {
            path: MANIFEST,
            kind: EntryType::Regular,
            target: "",
            size: count.0,
            extents: None,
            mode: 0o600,
            uid: 0,
            gid: 0,
            mtime: Mtime {
                seconds: manifest.created_at.cast_signed(),
                nanos: 0,
            },
        })?;
        serde_json::to_writer(Out(&mut self.out), manifest).map_err(failed)?;
        let end = padding(count.0) + 1024;
        self.out.zeros(end).during(writing)
    }
}

/// Zeros that stand for small holes.
const MOST_ZEROS: u64 = 1 << 30;

/// On which side reading and writing failed.
enum Range {
    In(io::Error),
    Out(Error),
}

fn writing() -> String {
    "writing the archive".into()
}

fn skip(item: &mut Item, reason: String) {
    item.skip = Some(reason.into());
    item.taken = None;
    item.current = true;
}

fn is_settled(stamp: &Stamp) -> bool {
    let Ok(now) = SystemTime::now().duration_since(UNIX_EPOCH) else {
        return false;
    };
    let before = now.saturating_sub(TICK);
    let seconds = before.as_secs().cast_signed();
    (stamp.ctime.seconds, stamp.ctime.nanos) < (seconds, before.subsec_nanos())
}

fn head_of<'h>(stamp: &Stamp, path: &'h str) -> Head<'h> {
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
    }
}

struct Count(u64);

impl Write for Count {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Out<'c>(&'c mut Compressor);

impl Write for Out<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
