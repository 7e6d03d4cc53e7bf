//! A directory handle below which nothing is opened through a link.
use std::{
    fs::File,
    io::{self, Read, Write},
    os::fd::{AsFd, OwnedFd},
    path::Path,
    sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed},
};

use rustix::{
    fs::{self, AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, Stat, Uid},
    io::Errno,
};

/// A folder that somebody else may write to at any moment. Names below are relative to it, with `/`, without `.` and `..`.
#[derive(Debug)]
pub struct Folder(OwnedFd);

/// Old kernels and some containers' filters do not know openat2.
static NO_OPENAT2: AtomicBool = AtomicBool::new(false);

const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

impl Folder {
    /// The path itself is the caller's and may lead through links.
    pub fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self(fs::open(path, flags, Mode::empty())?))
    }

    /// A regular file's content; None: there is none. An error when it is something else or bigger than `max_bytes`.
    pub fn read(&self, name: &str, max_bytes: u64) -> io::Result<Option<Vec<u8>>> {
        let file = match self.open_file(name) {
            Ok((file, stat)) => {
                if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
                    return Err(io::Error::other(format!("'{name}' is not a regular file")));
                }
                file
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut bytes = Vec::new();
        file.take(max_bytes.saturating_add(1))
            .read_to_end(&mut bytes)?;
        if bytes.len() as u64 > max_bytes {
            let what = format!("'{name}' is bigger than {max_bytes} bytes");
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, what));
        }
        Ok(Some(bytes))
    }

    /// Writes a file beside, brings it to the disk and renames it; its folder has to be there. Who looks sees the old file
    /// or the new one. `owner` is (uid, gid).
    pub fn write(
        &self,
        name: &str,
        bytes: &[u8],
        mode: u32,
        owner: Option<(u32, u32)>,
    ) -> io::Result<()> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        for part in name.split('/') {
            plain(part)?;
        }
        let (parent, last) = name.rsplit_once('/').unwrap_or(("", name));
        let parent = self.open_folder(parent)?;
        let random = std::collections::hash_map::RandomState::new();
        let random = std::hash::BuildHasher::hash_one(&random, COUNT.fetch_add(1, Relaxed));
        let beside = format!(".openflow-{random:016x}");
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = fs::openat(&parent, beside.as_str(), flags, Mode::RUSR | Mode::WUSR)?;
        let written = fill(File::from(file), bytes, mode, owner)
            .and_then(|()| Ok(fs::renameat(&parent, beside.as_str(), &parent, last)?));
        if written.is_err() {
            // It may be gone already, and the first error says more.
            let _ = fs::unlinkat(&parent, beside.as_str(), AtFlags::empty());
        }
        written?;
        Ok(fs::fsync(&parent)?)
    }

    /// Whether there is a regular file, and no link on the way to it.
    pub fn has_file(&self, name: &str) -> io::Result<bool> {
        let elsewhere =
            [Errno::NOENT, Errno::LOOP, Errno::NOTDIR, Errno::NXIO].map(Errno::raw_os_error);
        match self.open_file(name) {
            Ok((_, stat)) => Ok(FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile),
            Err(error)
                if error
                    .raw_os_error()
                    .is_some_and(|it| elsewhere.contains(&it)) =>
            {
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Removes a file, or a link and not what it leads to. Fine when it is gone.
    pub fn remove(&self, name: &str) -> io::Result<()> {
        let (parent, last) = name.rsplit_once('/').unwrap_or(("", name));
        plain(last)?;
        let removed = self
            .open_folder(parent)
            .and_then(|parent| Ok(fs::unlinkat(&parent, last, AtFlags::empty())?));
        match removed {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    /// Opens for reading whatever is there but a link or a folder, and never waits for a FIFO's other end.
    pub(crate) fn open_file(&self, name: &str) -> io::Result<(File, Stat)> {
        let flags =
            OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = self.beneath(name, flags)?;
        let stat = fs::fstat(&file)?;
        Ok((File::from(file), stat))
    }

    /// A folder below; "" is this one.
    pub(crate) fn open_folder(&self, name: &str) -> io::Result<OwnedFd> {
        if name.is_empty() {
            return Ok(fs::openat(&self.0, ".", DIRECTORY, Mode::empty())?);
        }
        self.beneath(name, DIRECTORY)
    }

    fn beneath(&self, name: &str, flags: OFlags) -> io::Result<OwnedFd> {
        for part in name.split('/') {
            plain(part)?;
        }
        if !NO_OPENAT2.load(Relaxed) {
            let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
            match fs::openat2(&self.0, name, flags, Mode::empty(), resolve) {
                // AGAIN: something above was renamed meanwhile; step by step it can be opened all the same.
                Err(Errno::AGAIN) => {}
                Err(Errno::NOSYS | Errno::PERM) => NO_OPENAT2.store(true, Relaxed),
                other => return Ok(other?),
            }
        }
        self.step_by_step(name, flags)
    }

    fn step_by_step(&self, name: &str, flags: OFlags) -> io::Result<OwnedFd> {
        let (parents, last) = name.rsplit_once('/').unwrap_or(("", name));
        let mut at: Option<OwnedFd> = None;
        for part in parents.split('/').filter(|part| !part.is_empty()) {
            let above = at.as_ref().map_or(self.0.as_fd(), AsFd::as_fd);
            at = Some(fs::openat(above, part, DIRECTORY, Mode::empty())?);
        }
        let above = at.as_ref().map_or(self.0.as_fd(), AsFd::as_fd);
        Ok(fs::openat(above, last, flags, Mode::empty())?)
    }
}

impl AsFd for Folder {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// A name of one file, not a way to elsewhere.
fn plain(part: &str) -> io::Result<()> {
    if matches!(part, "" | "." | "..") || part.contains(['/', '\0']) {
        let what = "a name below a folder has no empty part, no '.' and no '..'";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
    }
    Ok(())
}

fn fill(mut file: File, bytes: &[u8], mode: u32, owner: Option<(u32, u32)>) -> io::Result<()> {
    file.write_all(bytes)?;
    if let Some((uid, gid)) = owner {
        fs::fchown(&file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
    }
    fs::fchmod(&file, Mode::from_raw_mode(mode & 0o777))?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn step_by_step_is_as_strict_as_the_kernel() {
        let place = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(place.path().join("in/a")).unwrap();
        std::fs::write(place.path().join("in/a/file"), "x").unwrap();
        std::fs::write(place.path().join("secret"), "x").unwrap();
        std::os::unix::fs::symlink("..", place.path().join("in/up")).unwrap();
        std::os::unix::fs::symlink("a/file", place.path().join("in/link")).unwrap();
        let folder = Folder::open(&place.path().join("in")).unwrap();
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW;
        assert!(folder.step_by_step("a/file", flags).is_ok());
        for name in ["up/secret", "link", "up/in/a/file"] {
            assert!(folder.step_by_step(name, flags).is_err(), "{name}");
            assert!(folder.beneath(name, flags).is_err(), "{name}");
        }
    }

    #[test]
    fn what_is_looked_for_and_removed_is_never_elsewhere() {
        let place = tempfile::tempdir().unwrap();
        let inside = place.path().join("in");
        std::fs::create_dir_all(inside.join("a")).unwrap();
        std::fs::write(inside.join("a/file"), "x").unwrap();
        std::fs::write(place.path().join("secret"), "x").unwrap();
        std::os::unix::fs::symlink("..", inside.join("up")).unwrap();
        std::os::unix::fs::symlink("../secret", inside.join("link")).unwrap();
        let folder = Folder::open(&inside).unwrap();
        for (name, expected) in [
            ("a/file", true),
            ("a", false),
            ("none", false),
            ("up/secret", false),
            ("link", false),
            ("a/file/below", false),
        ] {
            assert_eq!(folder.has_file(name).unwrap(), expected, "{name}");
        }
        folder.remove("a/file").unwrap();
        folder.remove("a/file").unwrap();
        folder.remove("link").unwrap();
        assert!(folder.remove("up/secret").is_err());
        assert!(place.path().join("secret").exists() && !inside.join("a/file").exists());
        assert!(!inside.join("link").is_symlink());
    }
}
