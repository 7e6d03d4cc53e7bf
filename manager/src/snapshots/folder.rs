//! A data folder that a tenant writes to at will: no name below is opened
//! through a link. Has the shape of `openflow_archive::Folder`, which takes its
//! place.
use std::{
    fs::File,
    io::{self, Read as _, Write as _},
    os::fd::{AsFd as _, OwnedFd},
    path::Path,
};

use nix::{
    errno::Errno,
    fcntl::{OFlag, open, openat, renameat},
    sys::stat::{Mode, SFlag, fstat},
    unistd::{Gid, Uid, fchown, fsync},
};

pub(super) struct Folder(OwnedFd);

impl Folder {
    /// The path itself is ours, and may lead through links.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        Ok(Self(open(path, flags, Mode::empty())?))
    }

    /// A regular file's content; `None` when there is none. Fails when it is
    /// something else, or bigger than `max_bytes`.
    pub(super) fn read(&self, name: &str, max_bytes: u64) -> io::Result<Option<Vec<u8>>> {
        let file = match self.beneath(name) {
            Err(Errno::ENOENT) => return Ok(None),
            Err(Errno::ELOOP | Errno::ENOTDIR) => {
                return Err(io::Error::other(format!("{name} is not a regular file")));
            }
            other => other?,
        };
        let mode = SFlag::from_bits_truncate(fstat(&file)?.st_mode);
        if mode & SFlag::S_IFMT != SFlag::S_IFREG {
            return Err(io::Error::other(format!("{name} is not a regular file")));
        }
        let mut bytes = Vec::new();
        File::from(file)
            .take(max_bytes.saturating_add(1))
            .read_to_end(&mut bytes)?;
        if max_bytes < bytes.len() as u64 {
            let what = format!("{name} is bigger than {max_bytes} bytes");
            return Err(io::Error::other(what));
        }
        Ok(Some(bytes))
    }

    /// Written beside, brought to the disk, renamed. `owner` is (uid, gid).
    pub(super) fn write(
        &self,
        name: &str,
        bytes: &[u8],
        mode: u32,
        owner: Option<(u32, u32)>,
    ) -> io::Result<()> {
        let beside = format!(".openflow-{name}");
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_TRUNC | OFlag::O_NOFOLLOW;
        let mode = Mode::from_bits_truncate(mode);
        let fd = openat(&self.0, beside.as_str(), flags | OFlag::O_CLOEXEC, mode)?;
        if let Some((uid, gid)) = owner {
            fchown(&fd, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
        }
        let mut file = File::from(fd);
        file.write_all(bytes)?;
        file.sync_all()?;
        renameat(&self.0, beside.as_str(), &self.0, name)?;
        Ok(fsync(&self.0)?)
    }

    /// Folder by folder, and never waits for a FIFO's other end.
    fn beneath(&self, name: &str) -> nix::Result<OwnedFd> {
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
        let mut at: Option<OwnedFd> = None;
        let mut parts = name.split('/').peekable();
        while let Some(part) = parts.next() {
            if matches!(part, "" | "." | "..") {
                return Err(Errno::EINVAL);
            }
            let above = at.as_ref().map_or(self.0.as_fd(), |it| it.as_fd());
            let flags = match parts.peek() {
                Some(_) => flags | OFlag::O_DIRECTORY,
                None => flags,
            };
            at = Some(openat(above, part, flags, Mode::empty())?);
        }
        at.ok_or(Errno::EINVAL)
    }
}
