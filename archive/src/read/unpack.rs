//! Entries become files.
use std::{
    fs::File,
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::FileExt,
    },
    path::{Path, PathBuf},
};

use rustix::fs::{self, AtFlags, Gid, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT, Uid};

use super::scan::{Meta, ROOT, Sink, Tree};
use crate::{Error, Folder, Kind, attributes::Attributes, error::During, flush::Flusher};

pub(super) struct Unpacker {
    into: PathBuf,
    folder: Folder,
    owner: Option<(u32, u32)>,
    root: bool,
    /// The folder that was written to last.
    open: Option<(String, OwnedFd)>,
    file: Option<File>,
    flusher: Option<Flusher>,
    refused: Refused,
    kept: bool,
}

/// Extended attributes that the file system did not take: how many, and the first ones.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Refused {
    count: u64,
    first: Vec<String>,
}

/// So many are named, in so many characters each.
const NAMED: usize = 3;
const NAME_CHARS: usize = 120;

impl Refused {
    fn add(&mut self, path: &str, names: &[String]) {
        self.count += names.len() as u64;
        let path = if path.is_empty() { "." } else { path };
        for name in names.iter().take(NAMED.saturating_sub(self.first.len())) {
            // Whoever made the archive named them.
            let named = format!("{name} of {path}");
            self.first
                .push(named.escape_debug().take(NAME_CHARS).collect());
        }
    }

    /// In one sentence; None: it took all.
    pub fn sentence(&self) -> Option<String> {
        if self.count == 0 {
            return None;
        }
        let first = self.first.join(", ");
        let more = if self.count > self.first.len() as u64 {
            ", …"
        } else {
            ""
        };
        Some(format!(
            "{} extended attributes or access control lists were not taken by the file system ({first}{more}).",
            self.count
        ))
    }
}

impl Unpacker {
    pub(super) fn new(into: &Path, owner: Option<(u32, u32)>) -> Result<Self, Error> {
        let what = || format!("making the folder {}", into.display());
        let flusher = Flusher::new().during(what)?;
        fs::mkdir(into, Mode::RWXU).during(what)?;
        let folder = Folder::open(into).during(what).inspect_err(|_| {
            // It is new and empty.
            let _ = std::fs::remove_dir(into);
        })?;
        Ok(Self {
            into: into.into(),
            folder,
            owner,
            root: rustix::process::geteuid().is_root(),
            open: None,
            file: None,
            flusher: Some(flusher),
            refused: Refused::default(),
            kept: false,
        })
    }

    /// Brings all to the disk; without it, everything is removed again.
    pub(super) fn keep(mut self) -> Result<Refused, Error> {
        let what = || "bringing the folder to the disk".into();
        let flushed = self.flusher.take().map_or(Ok(()), Flusher::finish);
        flushed.during(what)?;
        fs::syncfs(&self.folder).during(what)?;
        let above = self.into.parent().filter(|above| *above != Path::new(""));
        let above = File::open(above.unwrap_or(Path::new("."))).during(what)?;
        above.sync_all().during(what)?;
        self.kept = true;
        Ok(std::mem::take(&mut self.refused))
    }

    /// The folder that an entry is in, and its last name.
    fn place<'a>(&mut self, path: &'a str) -> io::Result<(&OwnedFd, &'a str)> {
        let (above, name) = path.rsplit_once('/').unwrap_or(("", path));
        if !matches!(&self.open, Some((open, _)) if open == above) {
            self.open = Some((above.to_owned(), self.folder.open_folder(above)?));
        }
        match &self.open {
            Some((_, folder)) => Ok((folder, name)),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn owner(&self, meta: &Meta) -> Option<(Option<Uid>, Option<Gid>)> {
        let archived = self.root.then_some((meta.uid, meta.gid));
        let (uid, gid) = self.owner.or(archived)?;
        Some((Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid))))
    }

    /// In this order: a new owner takes rights away, and so does the mode. The attributes that were refused.
    fn dress(
        &self,
        of: impl AsFd,
        (meta, attributes): (&Meta, &Attributes),
    ) -> io::Result<Vec<String>> {
        if let Some((uid, gid)) = self.owner(meta) {
            fs::fchown(&of, uid, gid)?;
        }
        let refused = attributes.set(&of)?;
        fs::fchmod(&of, Mode::from_raw_mode(meta.mode & 0o1777))?;
        fs::futimens(&of, &times(meta))?;
        Ok(refused)
    }
}

fn times(meta: &Meta) -> Timestamps {
    Timestamps {
        last_access: Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_OMIT,
        },
        last_modification: Timespec {
            tv_sec: meta.mtime.seconds,
            tv_nsec: meta.mtime.nanos.into(),
        },
    }
}

fn making(path: &str) -> impl FnOnce() -> String {
    let path = path.to_owned();
    move || format!("unpacking '{path}'")
}

impl Sink for Unpacker {
    fn folder(&mut self, path: &str) -> Result<(), Error> {
        if path == ROOT {
            return Ok(());
        }
        let made = self.place(path).and_then(|(above, name)| {
            fs::mkdirat(above, name, Mode::RWXU)?;
            Ok(())
        });
        made.during(making(path))
    }

    fn begin(&mut self, path: &str) -> Result<(), Error> {
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = self
            .place(path)
            .and_then(|(above, name)| Ok(fs::openat(above, name, flags, Mode::RUSR | Mode::WUSR)?));
        self.file = Some(File::from(file.during(making(path))?));
        Ok(())
    }

    fn data(&mut self, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        if let Some(file) = &self.file {
            let written = file.write_all_at(bytes, offset);
            written.during(|| "unpacking a file".into())?;
            if let Some(flusher) = &mut self.flusher {
                flusher.wrote(file, bytes.len() as u64);
            }
        }
        Ok(())
    }

    fn end(&mut self, path: &str, size: u64, of: (&Meta, &Attributes)) -> Result<(), Error> {
        let Some(file) = self.file.take() else {
            return Ok(());
        };
        let ended = || {
            // A sparse file may end in a hole.
            if file.metadata()?.len() != size {
                file.set_len(size)?;
            }
            self.dress(&file, of)
        };
        let refused = ended().during(making(path))?;
        self.refused.add(path, &refused);
        Ok(())
    }

    fn symlink(&mut self, path: &str, target: &str, meta: &Meta) -> Result<(), Error> {
        let owner = self.owner(meta);
        let made = self.place(path).and_then(|(above, name)| {
            fs::symlinkat(target, above, name)?;
            if let Some((uid, gid)) = owner {
                fs::chownat(above, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)?;
            }
            fs::utimensat(above, name, &times(meta), AtFlags::SYMLINK_NOFOLLOW)?;
            Ok(())
        });
        made.during(making(path))
    }

    fn hard_link(&mut self, path: &str, target: &str) -> Result<(), Error> {
        let (target_above, target_name) = target.rsplit_once('/').unwrap_or(("", target));
        let from = self.folder.open_folder(target_above);
        let made = from.and_then(|from| {
            let (above, name) = self.place(path)?;
            Ok(fs::linkat(
                from,
                target_name,
                above,
                name,
                AtFlags::empty(),
            )?)
        });
        made.during(making(path))
    }

    fn remove(&mut self, path: &str, folder: bool) -> Result<(), Error> {
        let flags = if folder {
            // Its handle may be the open one.
            self.open = None;
            AtFlags::REMOVEDIR
        } else {
            AtFlags::empty()
        };
        let removed = self.place(path).and_then(|(above, name)| {
            fs::unlinkat(above, name, flags)?;
            Ok(())
        });
        removed.during(|| format!("removing '{path}', which was deleted during the backup"))
    }

    /// Folders get their modes and times last: until here they were written to.
    fn finish(&mut self, tree: &Tree) -> Result<(), Error> {
        self.open = None;
        let folders = tree.iter().rev();
        let below = folders.filter(|(path, node)| node.kind == Kind::Folder && *path != ROOT);
        let below = below.map(|(path, node)| (path.as_str(), node));
        for (path, node) in below.chain(tree.get(ROOT).map(|root| ("", root))) {
            let set = self.folder.open_folder(path);
            let refused = set
                .and_then(|folder| self.dress(folder, (&node.meta, &node.attributes)))
                .during(making(path))?;
            self.refused.add(path, &refused);
        }
        Ok(())
    }
}

impl Drop for Unpacker {
    fn drop(&mut self) {
        if !self.kept {
            // What cannot be removed now is found by whoever looks at the folder's name.
            let _ = crate::remove_tree(&self.into);
        }
    }
}
