//! The copy of what changed: one nameless file, which goes with the process.
use std::{collections::HashMap, fs::File, io, os::unix::fs::FileExt, path::Path};

use rustix::{
    fs::{FileType, copy_file_range},
    io::Errno,
};

use super::judge::{is_sqlite, trouble};
use crate::{
    Error, Folder,
    attributes::{self, Allowance, Attributes},
    content::{Extents, extents},
    error::During,
    scan::{Item, Stamp, Taken},
};

pub(super) struct Spool {
    file: File,
    end: u64,
    copies: HashMap<usize, Copied>,
    /// Of files and folders that have some.
    attributes: HashMap<usize, attributes::Read>,
    allowance: Allowance,
    buffer: Vec<u8>,
    /// Whether the kernel copies between these file systems.
    by_kernel: bool,
}

pub(super) enum Copied {
    /// Where it begins. Of a sparse file only the extents are there, one after the other.
    At {
        offset: u64,
        extents: Option<Extents>,
        sqlite: bool,
    },
    /// It was not there any more, or is skipped.
    Not(Option<Taken>),
}

/// Between pieces the clock is looked at.
const PIECE: u64 = 4 << 20;
/// Whole blocks can be shared instead of copied, on file systems that can.
const ALIGNMENT: u64 = 4096;

impl Spool {
    pub(super) fn new(folder: &Path) -> io::Result<Self> {
        Ok(Self {
            file: tempfile::tempfile_in(folder)?,
            end: 0,
            copies: HashMap::new(),
            attributes: HashMap::new(),
            allowance: Allowance::new(),
            buffer: Vec::new(),
            by_kernel: true,
        })
    }

    pub(super) fn of(&self, index: usize) -> &Copied {
        self.copies.get(&index).unwrap_or(&Copied::Not(None))
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    pub(super) fn attributes_of(&self, index: usize) -> attributes::Read {
        self.attributes.get(&index).cloned().unwrap_or_default()
    }

    /// Of a folder; one that is gone has none.
    pub(super) fn attributes(&mut self, folder: &Folder, index: usize, path: &str) {
        if let Ok(handle) = folder.open_folder(path) {
            self.keep(index, Attributes::of(handle));
        }
    }

    fn keep(&mut self, index: usize, read: attributes::Read) {
        let read = self.allowance.pass(read);
        if read != attributes::Read::default() {
            self.attributes.insert(index, read);
        }
    }

    /// False: the file changed under our hands.
    pub(super) fn copy(
        &mut self,
        folder: &Folder,
        index: usize,
        item: &Item,
        go_on: &mut dyn FnMut() -> Result<(), Error>,
    ) -> Result<bool, Error> {
        go_on()?;
        let (file, stat) = match folder.open_file(&item.path) {
            Ok(opened) => opened,
            Err(error) => {
                let taken = trouble(item, error)?;
                let skipped = taken.is_some();
                self.copies.insert(index, Copied::Not(taken));
                return Ok(skipped);
            }
        };
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Ok(false);
        }
        let same = Stamp::of(&stat) == item.stamp;
        self.keep(index, Attributes::of(&file));
        let size = item.stamp.size;
        let extents = if item.disk_bytes < size {
            extents(&file, size, go_on)?
        } else {
            None
        };
        let offset = self.end;
        let whole = [(0, size)];
        let mut whole_copied = true;
        let mut at = offset;
        for (from, length) in extents.as_deref().unwrap_or(&whole) {
            whole_copied &= self
                .piece_by_piece((&file, *from), at, *length, go_on)
                .map_err(|error| named(error, &item.path))?;
            at += length;
        }
        // What was cut off meanwhile reads as zeros.
        self.end = at.next_multiple_of(ALIGNMENT);
        self.file
            .set_len(self.end)
            .during(|| "writing the copy of what changed".into())?;
        let sqlite = is_sqlite(&file, size);
        let copied = Copied::At {
            offset,
            extents,
            sqlite,
        };
        self.copies.insert(index, copied);
        Ok(same && whole_copied)
    }

    /// False: it ended early.
    fn piece_by_piece(
        &mut self,
        (file, from): (&File, u64),
        to: u64,
        length: u64,
        go_on: &mut dyn FnMut() -> Result<(), Error>,
    ) -> Result<bool, Error> {
        let mut done = 0;
        while done < length {
            let count = (length - done).min(PIECE);
            let copied = self
                .piece(file, from + done, to + done, count)
                .during(|| "copying what changed".into())?;
            if copied == 0 {
                return Ok(false);
            }
            done += copied;
            go_on()?;
        }
        Ok(true)
    }

    fn piece(&mut self, file: &File, mut from: u64, mut to: u64, count: u64) -> io::Result<u64> {
        let length = usize::try_from(count).map_err(io::Error::other)?;
        if self.by_kernel {
            match copy_file_range(file, Some(&mut from), &self.file, Some(&mut to), length) {
                Ok(copied) => return Ok(copied as u64),
                Err(Errno::XDEV | Errno::INVAL | Errno::OPNOTSUPP | Errno::NOSYS | Errno::PERM) => {
                    self.by_kernel = false;
                }
                Err(error) => return Err(error.into()),
            }
        }
        self.buffer.resize(length.min(256 * 1024), 0);
        let read = file.read_at(&mut self.buffer, from)?;
        self.file.write_all_at(&self.buffer[..read], to)?;
        Ok(read as u64)
    }
}

fn named(error: Error, path: &str) -> Error {
    match error {
        Error::Io { what, source } => Error::Io {
            what: format!("{what}: '{path}'"),
            source,
        },
        other => other,
    }
}
