//! Reading an archive, which may be damaged or hostile.
mod compare;
mod scan;
mod stream;
mod unpack;

use std::{fs::File, path::Path};

use crate::{Error, Manifest, Progress, error::During, gzip::Decompressor, tar::Reader};
use scan::{Scan, Sink};
pub(crate) use stream::Stream;
use unpack::Unpacker;

pub use unpack::Refused;

/// How much an archive may hold before reading it is given up.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Decompressed, with headers: some 1.5 kB for each entry. A sparse file's holes do not count.
    pub bytes: u64,
    /// Entries of the tar, those that count twice too.
    pub entries: u64,
}

#[derive(Debug, Clone, Copy)]
pub struct UnpackOptions {
    pub limits: Limits,
    /// (uid, gid) of everything; None: as in the archive, if we are root.
    pub owner: Option<(u32, u32)>,
    /// For decompressing, 1 to 16, besides one that writes.
    pub threads: usize,
}

/// Reads all of an archive and compares it with its manifest; writes nothing. Each entry passes what [`unpack`] demands.
pub fn check(input: File, limits: &Limits, progress: &Progress) -> Result<Manifest, Error> {
    struct Nothing;
    impl Sink for Nothing {}
    let threads = std::thread::available_parallelism().map_or(1, |count| count.get().min(4));
    read(input, (limits, threads), progress, &mut Nothing)
}

/// What came of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unpacked {
    pub manifest: Manifest,
    /// What the folder lacks for its file system's sake.
    pub refused: Refused,
}

/// Makes the folder `into`, which may not be there yet, of what the manifest lists, and brings it to the disk. Set-user and
/// set-group bits are removed. Extended attributes that the file system does not take are told, and no error. After an error
/// `into` is not there.
pub fn unpack(
    input: File,
    into: &Path,
    options: &UnpackOptions,
    progress: &Progress,
) -> Result<Unpacked, Error> {
    let mut unpacker = Unpacker::new(into, options.owner)?;
    let manifest = read(
        input,
        (&options.limits, options.threads),
        progress,
        &mut unpacker,
    )?;
    let refused = unpacker.keep()?;
    Ok(Unpacked { manifest, refused })
}

fn read(
    input: File,
    (limits, threads): (&Limits, usize),
    progress: &Progress,
    sink: &mut dyn Sink,
) -> Result<Manifest, Error> {
    progress.go_on()?;
    let metadata = input.metadata().during(|| "opening the archive".into())?;
    progress.expect(metadata.len());
    let decompressor = Decompressor::new(input, threads, progress.clone())
        .during(|| "starting a thread".into())?;
    let reader = Reader::new(Stream::new(decompressor, limits.bytes));
    Scan::new(reader, limits.entries, sink).run(progress)
}
