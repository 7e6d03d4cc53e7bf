//! Writing an archive of a folder that is in use.
mod freeze;
mod judge;
mod listing;
mod pack;
mod passes;
mod spool;

use std::{
    fs::File,
    io,
    path::PathBuf,
    time::{Duration, SystemTime},
};

use crate::{
    Entry, Error, Folder, Kind, Manifest, Progress,
    error::During,
    gzip::Compressor,
    scan::{Item, Taken},
};
use pack::Packer;
use passes::Passes;

/// Stops and continues whatever writes to the folder.
pub trait Freezer: Send {
    /// Nothing writes once this returned.
    fn freeze(&mut self) -> io::Result<()>;
    /// Called after each try to freeze, a failed one too, and whatever happens in between.
    fn thaw(&mut self) -> io::Result<()>;
}

#[derive(Debug, Clone)]
pub struct WriteOptions {
    /// 0 to 9.
    pub level: u32,
    /// For compressing, 1 to 16, besides one that reads and hashes and one that writes.
    pub threads: usize,
    /// Names at the top that are left out.
    pub exclude: Vec<String>,
    /// How long one freeze may take. There are two at most.
    pub freeze_limit: Duration,
    /// A folder for the copy of what changed, best on the archived folder's file system. Nothing stays there.
    pub spool: PathBuf,
    /// For [`Manifest::about`], up to 512 kB of JSON.
    pub about: serde_json::Value,
}

impl WriteOptions {
    /// Level 6, two threads, nothing excluded, 10 s of freeze.
    pub fn new(spool: impl Into<PathBuf>) -> Self {
        Self {
            level: 6,
            threads: 2,
            exclude: Vec::new(),
            freeze_limit: Duration::from_secs(10),
            spool: spool.into(),
            about: serde_json::Value::Null,
        }
    }
}

#[derive(Debug)]
pub struct Written {
    pub manifest: Manifest,
    /// Of the archive.
    pub bytes: u64,
    /// Of the archive, hexadecimal.
    pub sha256: String,
    /// How long it was frozen, all tries together; None: never.
    pub frozen: Option<Duration>,
    /// Why there was no freeze though there was a freezer.
    pub freeze_error: Option<String>,
    /// At most 1,000, and a last one that counts the rest.
    pub skipped: Vec<Skipped>,
    /// All that is in it was so at one moment. False: the folder was written to all the time, and freezing did not help.
    pub consistent: bool,
}

/// What could not be archived.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Skipped {
    pub path: String,
    pub reason: String,
}

const LONGEST_ABOUT: usize = 512 * 1024;

/// Writes the archive into `out`, an empty file, and brings it to the disk. Renaming it is the caller's.
///
/// With a freezer: reads all, then again what changed while that is much (three times at most), then freezes, copies what
/// changed since and the SQLite files that were written to within a minute, thaws. If the freeze takes longer than its
/// limit it is given up, and tried once more. Without a freezer, or when it fails: reads until nothing changes any more,
/// four times at most.
///
/// A file that is written through a shared memory map may change without a trace for half a minute; such a change can be
/// missed, unless the file is SQLite's.
pub fn write(
    folder: &Folder,
    out: File,
    options: &WriteOptions,
    freezer: Option<&mut dyn Freezer>,
    progress: &Progress,
) -> Result<Written, Error> {
    if options.about.to_string().len() > LONGEST_ABOUT {
        return Err(Error::TooBig("what the manifest is to say of it".into()));
    }
    progress.go_on()?;
    let compressor = Compressor::new(out, options.level, options.threads)
        .during(|| "starting a thread".into())?;
    let mut packer = Packer::new(folder, compressor, progress);
    let done = Passes::new(folder, options, &mut packer, progress).run(freezer);
    let done = done.and_then(|mut done| {
        let entries = entries(std::mem::take(&mut done.items), &mut done.skips);
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let created_at = now.map_or(0, |since| since.as_secs());
        let manifest = Manifest::new(options.about.clone(), created_at, entries);
        packer.manifest(&manifest)?;
        Ok((done, manifest))
    });
    let (done, manifest) = match done {
        Ok(done) => done,
        // When the file could not be written, that is the reason of all other trouble.
        Err(error) => {
            return Err(match packer.into_compressor().abandon() {
                Some(reason) => Error::io("writing the archive", reason),
                None => error,
            });
        }
    };
    let compressed = packer.into_compressor().finish();
    let compressed = compressed.during(|| "writing the archive".into())?;
    Ok(Written {
        manifest,
        bytes: compressed.bytes,
        sha256: compressed.sha256.to_string(),
        frozen: done.frozen,
        freeze_error: done.freeze_error,
        skipped: done.skips.into_list(),
        consistent: done.consistent,
    })
}

fn entries(items: Vec<Item>, skips: &mut crate::scan::Skips) -> Vec<Entry> {
    let mut entries = Vec::with_capacity(items.len());
    for item in items {
        let noted = item.attributes.map(|it| *it);
        let (attributes, dropped) = noted.map_or((None, None), |it| (it.digest, it.dropped));
        let kind = match item.taken {
            None => continue,
            Some(Taken::Skipped(reason)) => {
                skips.add(&item.path, reason);
                continue;
            }
            Some(Taken::Folder) => Kind::Folder,
            Some(Taken::File { sha256, sparse }) => Kind::File {
                size: item.stamp.size,
                sha256,
                sparse,
            },
            Some(Taken::Symlink(target)) => Kind::Symlink {
                target: target.into(),
            },
            Some(Taken::HardLink(target)) => Kind::HardLink {
                target: target.into(),
            },
        };
        if let Some(why) = dropped {
            skips.add(&item.path, why);
        }
        let path = match &*item.path {
            "" => ".".into(),
            _ => item.path.into(),
        };
        entries.push(Entry {
            path,
            kind,
            mode: item.stamp.permissions(),
            uid: item.stamp.uid,
            gid: item.stamp.gid,
            mtime: item.stamp.mtime,
            attributes,
        });
    }
    entries
}
