//! Archives of whole folders: written while the folder is in use, read with distrust.
//!
//! An archive is a `.tar.gz` that any `tar` opens. Inside are the folder as `data/…` and, last, `manifest.json`. What the
//! crate promises:
//!
//! - **The manifest is the truth.** It lists what the folder held at one moment, with a SHA-256 per file. The tar may hold
//!   more: files that changed while they were read first stand in it twice (the later one counts), files that were deleted
//!   since stand in it but not in the manifest (they are left out).
//! - **The folder may be hostile and alive.** Its owner can exchange a folder for a link at any moment, so everything is
//!   opened below a directory handle and never through a link ([`Folder`]).
//! - **So may the archive.** [`check`] and [`unpack`] refuse what would leave the folder, with the entry's name, and count
//!   bytes and entries while they read.
//! - **What a file's owner can set comes back**: modes, times, links, holes, `user.*` attributes and POSIX access control lists.
//!   What needs privileges (`security.*`, `trusted.*`, set-user bits) is left out; what the file system does not take is told
//!   ([`Refused`]).
//! - **Constant memory**, apart from some hundred bytes for each entry.
//!
//! # How to use it
//!
//! ```no_run
//! # use openflow_archive::*;
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let folder = Folder::open("data/instances/1".as_ref())?;
//! let options = WriteOptions { exclude: vec![".npm".into()], about: serde_json::json!({"engine": "node-red"}), ..WriteOptions::new("data/spool") };
//! let progress = Progress::new(); // its clones show and cancel it from elsewhere
//! let out = std::fs::File::create("backup.tar.gz.part")?;
//! let written = write(&folder, out, &options, None, &progress)?;
//! std::fs::rename("backup.tar.gz.part", "backup.tar.gz")?; // then fsync the directory
//! assert!(written.consistent && written.skipped.is_empty());
//!
//! let limits = Limits { bytes: 10 << 30, entries: 1_000_000 };
//! let manifest = check(std::fs::File::open("backup.tar.gz")?, &limits, &Progress::new())?;
//! let options = UnpackOptions { limits, owner: Some((1000, 1000)), threads: 2 };
//! unpack(std::fs::File::open("backup.tar.gz")?, "data/instances/.new".as_ref(), &options, &Progress::new())?;
//! # let _ = manifest; Ok(()) }
//! ```
//!
//! All calls block: from async code, use `spawn_blocking`. With a [`Freezer`], [`write`] reads the folder while it is in use,
//! freezes, copies what changed meanwhile (and SQLite's files) into the spool folder, thaws, and compresses that copy. The
//! limit is kept between files and pieces of files, so give the freezer's own fuse some seconds more than `freeze_limit`.
//!
//! Reading order: `scan.rs` and `folder.rs` (the folder), `write/` (passes, freeze), `tar/` (the format), `gzip/` (parallel
//! members), `read/` (the scan of an archive and what is made of it), `remove.rs` ([`remove_tree`]).
mod attributes;
mod content;
mod error;
mod flush;
mod folder;
mod gzip;
mod link;
mod manifest;
mod progress;
mod read;
mod remove;
mod scan;
mod tar;
mod write;

pub use error::Error;
pub use folder::Folder;
pub use manifest::{Entry, Kind, Manifest, Mtime, Sha256};
pub use progress::Progress;
pub use read::{Limits, Refused, UnpackOptions, Unpacked, check, unpack};
pub use remove::remove_tree;
pub use write::{Freezer, Skipped, WriteOptions, Written, write};

/// Where the folder and the manifest are in the archive.
const DATA: &str = "data";
const MANIFEST: &str = "manifest.json";
