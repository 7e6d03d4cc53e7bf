//! Folders to archive, and what to look at after.
#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]
#![allow(
    dead_code,
    clippy::allow_attributes,
    reason = "each test file uses its part"
)]

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{Read, Write},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use openflow_archive::{
    Error, Folder, Freezer, Limits, Manifest, Progress, UnpackOptions, WriteOptions, Written,
};
use sha2::Digest;
use tempfile::TempDir;

pub(crate) const LIMITS: Limits = Limits {
    bytes: 20 << 30,
    entries: 1_000_000,
};

/// A folder to archive, the archive, and what is made of it, side by side.
pub(crate) struct Place(TempDir);

impl Place {
    pub(crate) fn new() -> Self {
        Self::made(tempfile::tempdir().unwrap())
    }

    /// For very many files: on a disk, deleting them again makes the next tests slow.
    pub(crate) fn in_memory() -> Self {
        Self::made(tempfile::tempdir_in("/dev/shm").unwrap())
    }

    /// For very much: where memory has plenty of room, waiting for the disk tests nothing.
    pub(crate) fn roomy() -> Self {
        let free = rustix::fs::statvfs("/dev/shm").map_or(0, |it| it.f_bavail * it.f_frsize);
        if free > 6 << 30 {
            return Self::in_memory();
        }
        Self::new()
    }

    fn made(folder: TempDir) -> Self {
        let place = Self(folder);
        fs::create_dir(place.folder()).unwrap();
        fs::create_dir(place.path("spool")).unwrap();
        place
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn folder(&self) -> PathBuf {
        self.path("folder")
    }

    pub(crate) fn archive(&self) -> PathBuf {
        self.path("archive.tar.gz")
    }

    pub(crate) fn unpacked(&self) -> PathBuf {
        self.path("unpacked")
    }

    pub(crate) fn write(
        &self,
        options: &WriteOptions,
        freezer: Option<&mut dyn Freezer>,
    ) -> Result<Written, Error> {
        let folder = Folder::open(&self.folder()).unwrap();
        let out = File::create(self.archive()).unwrap();
        openflow_archive::write(&folder, out, options, freezer, &Progress::new())
    }

    pub(crate) fn check(&self) -> Result<Manifest, Error> {
        check(&self.archive(), &LIMITS)
    }

    pub(crate) fn unpack(&self) -> Result<Manifest, Error> {
        unpack(&self.archive(), &self.unpacked(), LIMITS)
    }
}

pub(crate) fn check(archive: &Path, limits: &Limits) -> Result<Manifest, Error> {
    openflow_archive::check(File::open(archive).unwrap(), limits, &Progress::new())
}

pub(crate) fn unpack(archive: &Path, into: &Path, limits: Limits) -> Result<Manifest, Error> {
    let options = UnpackOptions {
        limits,
        owner: None,
        threads: 2,
    };
    let file = File::open(archive).unwrap();
    let unpacked = openflow_archive::unpack(file, into, &options, &Progress::new());
    unpacked.map(|it| it.manifest)
}

pub(crate) fn options(place: &Place) -> WriteOptions {
    WriteOptions {
        level: 1,
        about: serde_json::json!({"engine": "node-red"}),
        ..WriteOptions::new(place.path("spool"))
    }
}

pub(crate) fn set_mtime(path: &Path, seconds: i64, nanos: u32) {
    let time = if seconds < 0 {
        UNIX_EPOCH - Duration::from_secs(seconds.unsigned_abs())
    } else {
        UNIX_EPOCH + Duration::from_secs(seconds.unsigned_abs())
    };
    let file = File::open(path).unwrap();
    file.set_modified(time + Duration::from_nanos(nanos.into()))
        .unwrap();
}

/// Bytes that do not compress.
pub(crate) fn noise(size: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(size + 8);
    while bytes.len() < size {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(size);
    bytes
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    kind: &'static str,
    mode: u32,
    owner: (u32, u32),
    mtime: (i64, i64),
    size: u64,
    /// A file's hash, or a link's target.
    content: Vec<u8>,
    /// The first path with this inode.
    same_as: String,
}

/// All that there is to see of a tree.
pub(crate) fn look(root: &Path) -> BTreeMap<String, Seen> {
    let mut seen = BTreeMap::new();
    let mut inodes = BTreeMap::new();
    let mut waiting = vec![root.to_owned()];
    let mut paths = vec![root.to_owned()];
    while let Some(folder) = waiting.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                waiting.push(entry.path());
            }
            paths.push(entry.path());
        }
    }
    paths.sort();
    for path in paths {
        let name = path
            .strip_prefix(root)
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned();
        let data = fs::symlink_metadata(&path).unwrap();
        let (kind, content) = if data.is_dir() {
            ("folder", Vec::new())
        } else if data.is_symlink() {
            (
                "link",
                fs::read_link(&path)
                    .unwrap()
                    .into_os_string()
                    .into_encoded_bytes(),
            )
        } else {
            ("file", hash(&path))
        };
        let same_as = inodes
            .entry(data.ino())
            .or_insert_with(|| name.clone())
            .clone();
        let of = Seen {
            kind,
            mode: data.mode() & 0o7777,
            owner: (data.uid(), data.gid()),
            mtime: (data.mtime(), data.mtime_nsec()),
            size: data.len(),
            content,
            same_as,
        };
        seen.insert(name, of);
    }
    seen
}

/// Of what is in it; that may be more than fits into memory.
fn hash(path: &Path) -> Vec<u8> {
    let mut file = File::open(path).unwrap();
    let mut hash = sha2::Sha256::new();
    let mut buffer = vec![0; 1 << 18];
    loop {
        match file.read(&mut buffer).unwrap() {
            0 => return hash.finalize().to_vec(),
            read => hash.update(&buffer[..read]),
        }
    }
}

pub(crate) fn assert_same(one: &Path, other: &Path) {
    let (one, other) = (look(one), look(other));
    for (name, seen) in &one {
        let brief = |seen: Option<&Seen>| {
            seen.map(|seen| {
                (
                    seen.kind,
                    seen.mode,
                    seen.owner,
                    seen.mtime,
                    seen.size,
                    seen.same_as.clone(),
                )
            })
        };
        assert!(
            other.get(name) == Some(seen),
            "{name}: {:?} became {:?}",
            brief(Some(seen)),
            brief(other.get(name))
        );
    }
    let extra: Vec<_> = other
        .keys()
        .filter(|name| !one.contains_key(*name))
        .collect();
    assert!(extra.is_empty(), "{extra:?}");
}

pub(crate) fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

pub(crate) fn sha256sum(path: &Path) -> String {
    run("sha256sum", &[path.to_str().unwrap()])
        .split(' ')
        .next()
        .unwrap()
        .to_owned()
}

/// Until it holds, for a minute at most.
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = SystemTime::now();
    while !holds() {
        assert!(
            begun.elapsed().unwrap_or_default() < Duration::from_secs(60),
            "never: {what}"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}

pub(crate) fn header(kind: tar::EntryType, size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_mode(0o600);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header
}

/// A tar's entry, a file.
pub(crate) fn append(builder: &mut tar::Builder<impl Write>, path: &str, content: &[u8]) {
    let mut header = header(tar::EntryType::Regular, content.len() as u64);
    builder.append_data(&mut header, path, content).unwrap();
}

/// A tar's entry, a folder.
pub(crate) fn folder(builder: &mut tar::Builder<impl Write>, path: &str) {
    let mut header = header(tar::EntryType::Directory, 0);
    builder.append_data(&mut header, path, &[][..]).unwrap();
}
