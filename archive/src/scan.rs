//! What is in a folder now.
use rustix::{
    fs::{AtFlags, Dir, FileType, Stat, statat},
    io::Errno,
};

use crate::{Error, Folder, Mtime, Sha256, Skipped, error::During};

/// More are not archived: each costs memory.
const MOST_ENTRIES: usize = 1_000_000;
/// The system opens no longer path in one go.
const LONGEST_PATH: usize = 4000;
/// More are only counted.
const MOST_SKIPPED: usize = 1000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sort {
    Folder,
    File,
    Symlink,
}

/// Whenever something about a file changes, so does this: the kernel sets `ctime`, and nobody else can.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) ino: u64,
    pub(crate) size: u64,
    pub(crate) mtime: Mtime,
    /// In nanoseconds since 1970.
    pub(crate) ctime: i64,
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

pub(crate) struct Item {
    /// The folder itself is "".
    pub(crate) path: Box<str>,
    pub(crate) sort: Sort,
    pub(crate) stamp: Stamp,
    /// On the disk; less than the size when there are holes.
    pub(crate) disk_bytes: u64,
    /// The file has other names too.
    pub(crate) linked: bool,
    /// It begins like an SQLite database. Known once it was opened.
    pub(crate) sqlite: bool,
    /// What stands in the archive under this path.
    pub(crate) taken: Option<Taken>,
    /// ... and the stamp tells that this is what the file is.
    pub(crate) current: bool,
    /// Of what stands in the archive; None: it has none.
    pub(crate) attributes: Option<Box<Noted>>,
}

/// Of extended attributes.
#[derive(Debug, Clone)]
pub(crate) struct Noted {
    pub(crate) digest: Option<Sha256>,
    /// Why they are not all there.
    pub(crate) dropped: Option<Box<str>>,
}

#[derive(Debug, Clone)]
pub(crate) enum Taken {
    Folder,
    /// Of the size in the stamp.
    File {
        sha256: Sha256,
        sparse: bool,
    },
    Symlink(Box<str>),
    HardLink(Box<str>),
    /// Nothing, and why.
    Skipped(Box<str>),
}

/// What is left out and why.
#[derive(Debug, Default)]
pub(crate) struct Skips {
    list: Vec<Skipped>,
    more: usize,
}

impl Skips {
    pub(crate) fn add(&mut self, path: &str, reason: impl Into<String>) {
        if self.list.len() == MOST_SKIPPED {
            self.more += 1;
            return;
        }
        self.list.push(Skipped {
            path: path.into(),
            reason: reason.into(),
        });
    }

    pub(crate) fn into_list(mut self) -> Vec<Skipped> {
        self.list.sort_by(|one, other| one.path.cmp(&other.path));
        if self.more > 0 {
            self.list.push(Skipped {
                path: "…".into(),
                reason: format!("{} more are left out", self.more),
            });
        }
        self.list
    }
}

impl Stamp {
    pub(crate) fn of(stat: &Stat) -> Self {
        Self {
            ino: stat.st_ino,
            size: u64::try_from(stat.st_size).unwrap_or(0),
            mtime: time(stat.st_mtime, stat.st_mtime_nsec),
            ctime: time(stat.st_ctime, stat.st_ctime_nsec).total_nanos(),
            mode: stat.st_mode,
            uid: stat.st_uid,
            gid: stat.st_gid,
        }
    }

    /// The later of its two times, in seconds.
    pub(crate) fn touched(&self) -> i64 {
        self.mtime.seconds.max(self.ctime / 1_000_000_000)
    }

    pub(crate) fn permissions(&self) -> u32 {
        self.mode & 0o7777
    }
}

fn time(seconds: impl TryInto<i64>, nanos: impl TryInto<u32>) -> Mtime {
    Mtime {
        seconds: seconds.try_into().unwrap_or(0),
        nanos: nanos.try_into().unwrap_or(0),
    }
}

/// Takes over what is known from the scan before, where nothing changed since. Both are sorted.
pub(crate) fn carry(old: Vec<Item>, new: &mut [Item]) {
    let mut old = old.into_iter().peekable();
    for item in new {
        while old.next_if(|before| before.path < item.path).is_some() {}
        let Some(before) = old.next_if(|before| before.path == item.path) else {
            continue;
        };
        if before.sort != item.sort {
            continue;
        }
        let same = before.stamp == item.stamp;
        item.sqlite = before.sqlite;
        item.taken = before.taken;
        item.attributes = before.attributes;
        item.current = before.current && same;
    }
}

/// All that can be archived (some `expected` items), sorted by path, so that a folder comes before what is in it. `go_on` is asked every few
/// entries.
pub(crate) fn scan(
    folder: &Folder,
    (exclude, expected): (&[String], usize),
    skips: &mut Skips,
    go_on: &mut dyn FnMut() -> Result<(), Error>,
) -> Result<Vec<Item>, Error> {
    let top = folder
        .open_folder("")
        .during(|| "opening the folder".into())?;
    let top = rustix::fs::fstat(&top).during(|| "reading the folder".into())?;
    let mut items = Vec::with_capacity(expected + expected / 8 + 64);
    items.push(item("", Sort::Folder, &top));
    let mut walk = Walk {
        folder,
        device: top.st_dev,
        items,
        waiting: vec![String::new()],
        skips,
        go_on,
    };
    while let Some(path) = walk.waiting.pop() {
        walk.list(&path, if path.is_empty() { exclude } else { &[] })?;
    }
    let mut items = walk.items;
    items.sort_unstable_by(|one, other| one.path.cmp(&other.path));
    // A folder that changes while it is listed may give a name twice.
    items.dedup_by(|one, other| one.path == other.path);
    Ok(items)
}

fn item(path: &str, sort: Sort, stat: &Stat) -> Item {
    Item {
        path: path.into(),
        sort,
        stamp: Stamp::of(stat),
        disk_bytes: u64::try_from(stat.st_blocks).unwrap_or(0) * 512,
        linked: sort == Sort::File && stat.st_nlink > 1,
        sqlite: false,
        taken: None,
        current: false,
        attributes: None,
    }
}

struct Walk<'a> {
    folder: &'a Folder,
    device: u64,
    items: Vec<Item>,
    waiting: Vec<String>,
    skips: &'a mut Skips,
    go_on: &'a mut dyn FnMut() -> Result<(), Error>,
}

impl Walk<'_> {
    fn list(&mut self, path: &str, exclude: &[String]) -> Result<(), Error> {
        let listing = match self.folder.open_folder(path) {
            Ok(handle) => Dir::new(handle),
            Err(error) => return self.closed(path, &error),
        };
        let mut listing = listing.during(|| format!("listing '{path}'"))?;
        let mut names = Vec::new();
        while let Some(entry) = listing.read() {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => {
                    self.skips
                        .add(path, format!("it cannot be listed to the end: {error}"));
                    break;
                }
            };
            names.push(entry.file_name().to_owned());
            if names.len() % 256 == 0 {
                (self.go_on)()?;
            }
            if self.items.len() + names.len() > MOST_ENTRIES {
                let what = format!("the folder has more than {MOST_ENTRIES} entries");
                return Err(Error::TooBig(what));
            }
        }
        (self.go_on)()?;
        let handle = listing.fd().during(|| format!("listing '{path}'"))?;
        for (count, name) in names.iter().enumerate() {
            let Ok(name) = name.to_str() else {
                let name = format!("{path}/{}", name.to_string_lossy());
                self.skips
                    .add(name.trim_start_matches('/'), "its name is not UTF-8");
                continue;
            };
            if matches!(name, "." | "..") || exclude.iter().any(|excluded| excluded == name) {
                continue;
            }
            if count % 256 == 255 {
                (self.go_on)()?;
            }
            let full = match path {
                "" => name.to_owned(),
                _ => format!("{path}/{name}"),
            };
            let stat = statat(handle, name, AtFlags::SYMLINK_NOFOLLOW);
            self.entry(full, stat);
        }
        Ok(())
    }

    fn entry(&mut self, path: String, stat: Result<Stat, Errno>) {
        let stat = match stat {
            Ok(stat) => stat,
            Err(Errno::NOENT) => return,
            Err(error) => return self.skips.add(&path, format!("it cannot be read: {error}")),
        };
        if path.len() > LONGEST_PATH {
            return self.skips.add(&path, "its path is too long");
        }
        let sort = match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Sort::File,
            FileType::Symlink => Sort::Symlink,
            FileType::Directory if stat.st_dev != self.device => {
                return self
                    .skips
                    .add(&path, "another file system is mounted there");
            }
            FileType::Directory => Sort::Folder,
            FileType::Fifo => return self.skips.add(&path, "it is a FIFO"),
            FileType::Socket => return self.skips.add(&path, "it is a socket"),
            _ => return self.skips.add(&path, "it is a device"),
        };
        self.items.push(item(&path, sort, &stat));
        if sort == Sort::Folder {
            self.waiting.push(path);
        }
    }

    /// A folder that cannot be opened: it went, was exchanged (then it is no folder any more), or is not ours to read.
    fn closed(&mut self, path: &str, error: &std::io::Error) -> Result<(), Error> {
        let errno = Errno::from_io_error(error);
        if matches!(errno, Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM)) {
            return Err(Error::io(
                format!("listing '{path}'"),
                std::io::Error::other(error.to_string()),
            ));
        }
        if !matches!(errno, Some(Errno::NOENT | Errno::NOTDIR | Errno::LOOP)) {
            self.skips
                .add(path, format!("it cannot be listed: {error}"));
        }
        Ok(())
    }
}
