//! Removing a folder that somebody else has filled.
use std::{
    ffi::CStr,
    io,
    os::fd::{AsFd, AsRawFd as _, OwnedFd},
    path::Path,
};

use rustix::{
    fs::{self, AtFlags, CWD, Dir, FileType, Mode, OFlags},
    io::Errno,
    path::Arg,
};

/// So many folders are open at once, two handles each; what is deeper is moved up.
const DEPTH_MAX: u32 = 32;
/// Each takes away [`DEPTH_MAX`] levels.
const PASSES_MAX: u32 = 10_000;

const FOLDER: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);
/// To change a folder that not even its owner may read.
const UNREAD: OFlags = OFlags::PATH
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// Removes the folder and all that is in it, or the file or link that is there instead. Fine when it is gone.
///
/// No link is followed and no other file system is entered. Folders that their owner may not write to, which
/// `std::fs::remove_dir_all` leaves, are made writable first, if they are ours. However deep the folder is, memory and open
/// handles are bounded. What can be removed is, even when something cannot; the error is the first one.
pub fn remove_tree(path: &Path) -> io::Result<()> {
    let stat = match fs::lstat(path) {
        Err(Errno::NOENT) => return Ok(()),
        other => other?,
    };
    if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
        return Ok(gone(fs::unlink(path))?);
    }
    let mut removal = Removal {
        top: open(CWD, path)?,
        device: stat.st_dev,
        moved: 0,
        has_progress: false,
        error: None,
    };
    for _ in 0..PASSES_MAX {
        removal.has_progress = false;
        removal.pass()?;
        match gone(fs::unlinkat(CWD, path, AtFlags::REMOVEDIR)) {
            Err(Errno::NOTEMPTY | Errno::EXIST) if removal.has_progress => {}
            other => return Ok(other?),
        }
    }
    Err(Errno::NOTEMPTY.into())
}

struct Removal {
    top: OwnedFd,
    device: u64,
    /// So many folders were moved up.
    moved: u64,
    /// Whether this pass removed or moved anything.
    has_progress: bool,
    error: Option<io::Error>,
}

impl Removal {
    fn pass(&mut self) -> io::Result<()> {
        let top = self.top.try_clone()?;
        self.empty(&top, 0)?;
        self.error.take().map_or(Ok(()), Err)
    }

    fn empty(&mut self, folder: &OwnedFd, depth: u32) -> io::Result<()> {
        for entry in Dir::read_from(folder)? {
            let entry = entry?;
            let name = entry.file_name();
            if [c".", c".."].contains(&name) {
                continue;
            }
            let is_folder = entry.file_type() == FileType::Directory;
            if let Err(error) = self.remove(folder, name, is_folder, depth) {
                self.error.get_or_insert(error);
            }
        }
        Ok(())
    }

    fn remove(
        &mut self,
        above: &OwnedFd,
        name: &CStr,
        is_folder: bool,
        depth: u32,
    ) -> io::Result<()> {
        if !is_folder {
            // Not every file system says what is a folder.
            match gone(fs::unlinkat(above, name, AtFlags::empty())) {
                Err(Errno::ISDIR) => {}
                other => {
                    self.has_progress |= other.is_ok();
                    return Ok(other?);
                }
            }
        }
        let folder = match open(above, name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other?,
        };
        if fs::fstat(&folder)?.st_dev != self.device {
            return Err(Errno::XDEV.into());
        }
        if depth == DEPTH_MAX {
            return self.move_up(above, name);
        }
        self.empty(&folder, depth + 1)?;
        match gone(fs::unlinkat(above, name, AtFlags::REMOVEDIR)) {
            // The next pass finds what was too deep, or came meanwhile.
            Err(Errno::NOTEMPTY | Errno::EXIST) => Ok(()),
            other => {
                self.has_progress |= other.is_ok();
                Ok(other?)
            }
        }
    }

    /// For the next pass.
    fn move_up(&mut self, above: &OwnedFd, name: &CStr) -> io::Result<()> {
        self.moved += 1;
        let to = format!(".removed-{}", self.moved);
        match gone(fs::renameat(above, name, &self.top, to)) {
            // Something has that name; it is gone before the next name is used.
            Err(Errno::NOTEMPTY | Errno::EXIST | Errno::NOTDIR) => self.has_progress = true,
            other => {
                other?;
                self.has_progress = true;
            }
        }
        Ok(())
    }
}

/// A folder in which we may remove things, if it is ours.
fn open(above: impl AsFd, name: impl Arg + Copy) -> io::Result<OwnedFd> {
    let folder = match fs::openat(&above, name, FOLDER, Mode::empty()) {
        Err(Errno::ACCESS) => {
            let unread = fs::openat(&above, name, UNREAD, Mode::empty())?;
            // The handle itself, whatever the name leads to by now.
            fs::chmod(format!("/proc/self/fd/{}", unread.as_raw_fd()), Mode::RWXU)?;
            fs::openat(&above, name, FOLDER, Mode::empty())?
        }
        other => other?,
    };
    if !Mode::from_raw_mode(fs::fstat(&folder)?.st_mode).contains(Mode::RWXU) {
        // Where that is refused, so is the removal, which says so.
        let _ = fs::fchmod(&folder, Mode::RWXU);
    }
    Ok(folder)
}

fn gone(result: rustix::io::Result<()>) -> rustix::io::Result<()> {
    match result {
        Err(Errno::NOENT) => Ok(()),
        other => other,
    }
}
