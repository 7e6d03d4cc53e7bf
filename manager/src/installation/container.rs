//! The file: a plain tar of few entries, each compressed by itself. Written to
//! the end in one go; read only after all of it was found good.
use std::{
    collections::HashSet,
    fs::{File, OpenOptions, TryLockError},
    io::{self, Read, Seek as _, SeekFrom, Write},
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::Path,
};

use anyhow::{Context as _, bail, ensure};
use sha2::{Digest as _, Sha256};

use super::{
    manifest::{Kind, MANIFEST, Manifest, Member, README, SUMS},
    watch::{Watch, go_on},
};

const BLOCK: u64 = 512;
/// Two blocks of zeros.
const END: u64 = 2 * BLOCK;
const PIECE: usize = 1 << 18;
const MANIFEST_BYTES_MAX: u64 = 256 << 20;
const ENTRIES_MAX: usize = 1_000_000;

/// Writes entries one after the other; bytes written go to the one begun last.
pub(super) struct Writer {
    file: File,
    /// Of the entry begun last.
    name: String,
    start: u64,
    hash: Sha256,
    members: Vec<Member>,
}

impl Writer {
    /// Makes the file, which only its owner may read, and overwrites one that
    /// was left there. Fails with [`io::ErrorKind::WouldBlock`] while somebody
    /// else writes to it.
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)?;
        file.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => io::ErrorKind::WouldBlock.into(),
            TryLockError::Error(error) => error,
        })?;
        file.set_len(0)?;
        Ok(Self {
            file,
            name: String::new(),
            start: 0,
            hash: Sha256::new(),
            members: Vec::new(),
        })
    }

    pub(super) fn add(&mut self, kind: &Kind, content: &[u8]) -> io::Result<()> {
        self.begin(kind)?;
        self.write_all(content)?;
        self.end()
    }

    /// Begins an entry: what is written next is its content.
    pub(super) fn begin(&mut self, kind: &Kind) -> io::Result<()> {
        self.begin_named(kind.name())
    }

    /// The size is not known yet: the header is filled in by the end.
    fn begin_named(&mut self, name: String) -> io::Result<()> {
        self.start = self.file.stream_position()?;
        self.name = name;
        self.hash = Sha256::new();
        self.file.write_all(&[0; BLOCK as usize])
    }

    /// Takes back the entry that was begun last.
    pub(super) fn take_back(&mut self) -> io::Result<()> {
        self.file.set_len(self.start)?;
        self.file.seek(SeekFrom::Start(self.start))?;
        Ok(())
    }

    pub(super) fn end(&mut self) -> io::Result<()> {
        let sha256 = hex(&std::mem::take(&mut self.hash).finalize());
        self.end_with(sha256)
    }

    /// Where another writer may put the content, in order, before
    /// [`Writer::end_with`].
    pub(super) fn content(&self) -> io::Result<File> {
        self.file.try_clone()
    }

    pub(super) fn end_with(&mut self, sha256: String) -> io::Result<()> {
        let end = self.file.stream_position()?;
        let size = end - self.start - BLOCK;
        let mut header = tar::Header::new_gnu();
        header.set_path(&self.name)?;
        header.set_size(size);
        header.set_mode(0o600);
        header.set_entry_type(tar::EntryType::Regular);
        header.set_cksum();
        self.file.write_all_at(header.as_bytes(), self.start)?;
        let rest = usize::try_from(size % BLOCK).unwrap_or_default();
        if rest > 0 {
            self.file.write_all(&[0; BLOCK as usize][rest..])?;
        }
        self.members.push(Member {
            name: std::mem::take(&mut self.name),
            size,
            sha256,
        });
        Ok(())
    }

    /// Adds the manifest, which `fill` makes of the entries, and brings all to
    /// the disk.
    pub(super) fn finish(
        mut self,
        fill: impl FnOnce(Vec<Member>) -> Manifest,
    ) -> anyhow::Result<Manifest> {
        let manifest = fill(self.members.clone());
        self.begin_named(MANIFEST.to_owned())?;
        self.write_all(&serde_json::to_vec_pretty(&manifest)?)?;
        self.end()?;
        let line = |it: &Member| format!("{}  {}\n", it.sha256, it.name);
        let sums: String = self.members.iter().map(line).collect();
        self.begin_named(SUMS.to_owned())?;
        self.write_all(sums.as_bytes())?;
        self.end()?;
        self.file.write_all(&[0; END as usize])?;
        self.file.sync_all()?;
        Ok(manifest)
    }
}

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.hash.update(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// An entry's place in the file.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    name: String,
    offset: u64,
    size: u64,
}

/// A whole and undamaged archive.
pub(super) struct Container {
    file: File,
    entries: Vec<Entry>,
    pub(super) manifest: Manifest,
}

impl Container {
    /// Reads all of it and compares it with what it says of itself.
    pub(super) fn open(path: &Path, watch: &dyn Watch) -> anyhow::Result<Self> {
        let file = File::open(path).context("cannot open it")?;
        let length = file.metadata()?.len();
        let entries = scan(&file, length)?;
        let mut it = Self {
            manifest: Manifest::parse(&manifest_of(&file, &entries)?)?,
            file,
            entries,
        };
        it.compare_lists()?;
        watch.begin("Checking the archive", length);
        it.compare_content(watch)?;
        Ok(it)
    }

    pub(super) fn has(&self, kind: &Kind) -> bool {
        self.find(&kind.name()).is_some()
    }

    /// Compressed bytes.
    pub(super) fn size_of(&self, kind: &Kind) -> u64 {
        self.find(&kind.name()).map_or(0, |it| it.size)
    }

    /// All of a small entry.
    pub(super) fn read(&self, kind: &Kind) -> anyhow::Result<Vec<u8>> {
        let mut content = Vec::new();
        self.open_entry(kind)?.read_to_end(&mut content)?;
        Ok(content)
    }

    pub(super) fn open_entry(&self, kind: &Kind) -> anyhow::Result<Content> {
        let name = kind.name();
        let entry = self.find(&name);
        let entry = entry.with_context(|| format!("the archive holds no {name}"))?;
        Ok(Content {
            file: self.file.try_clone()?,
            at: entry.offset,
            end: entry.offset + entry.size,
        })
    }

    fn find(&self, name: &str) -> Option<&Entry> {
        self.entries.iter().find(|it| it.name == name)
    }

    /// The entries are those that the manifest lists, each known and of the
    /// listed size.
    fn compare_lists(&self) -> anyhow::Result<()> {
        let manifest = &self.manifest;
        let content = &self.entries[..self.entries.len() - 2];
        for (entry, member) in content.iter().zip(&manifest.members) {
            ensure!(
                entry.name == member.name && entry.size == member.size,
                "the archive is damaged: {} is not what openflow.json lists ({})",
                entry.name,
                member.name
            );
            ensure!(
                Kind::of(&entry.name).is_some(),
                "the archive holds {:?}, which is no part of a backup; nothing was touched",
                entry.name
            );
        }
        ensure!(
            content.len() == manifest.members.len(),
            "the archive is damaged: it holds {} entries, and openflow.json lists {}",
            content.len(),
            manifest.members.len()
        );
        for table in &manifest.database.tables {
            let kind = Kind::Table(table.name.clone());
            ensure!(self.has(&kind), "the archive lacks {}", kind.name());
        }
        for it in manifest.instances.iter().filter(|it| it.data.is_some()) {
            let kind = Kind::Instance(it.id);
            ensure!(self.has(&kind), "the archive lacks {}", kind.name());
        }
        let keyed = self.has(&Kind::Key(super::KEY_FILES[0]));
        ensure!(
            keyed == manifest.with_keys,
            "the archive is damaged: its list and its keys do not agree"
        );
        Ok(())
    }

    fn compare_content(&mut self, watch: &dyn Watch) -> anyhow::Result<()> {
        let last = self.entries.len() - 1;
        let mut sums = String::new();
        let mut done = 0;
        for (at, entry) in self.entries[..last].iter().enumerate() {
            let sha256 = self.hash(entry, watch, &mut done)?;
            // The manifest itself is in the sums alone.
            let listed = self.manifest.members.get(at);
            if listed.is_some_and(|it| it.sha256 != sha256) {
                bail!(
                    "the archive is damaged: {} is not what was written",
                    entry.name
                );
            }
            sums.push_str(&format!("{sha256}  {}\n", entry.name));
        }
        let mut written = Vec::new();
        let entry = &self.entries[last];
        let mut content = Content {
            file: self.file.try_clone()?,
            at: entry.offset,
            end: entry.offset + entry.size,
        };
        content.read_to_end(&mut written)?;
        ensure!(
            written == sums.as_bytes(),
            "the archive is damaged: {MANIFEST} or {SUMS} is not what was written"
        );
        Ok(())
    }

    fn hash(&self, entry: &Entry, watch: &dyn Watch, done: &mut u64) -> anyhow::Result<String> {
        let mut content = Content {
            file: self.file.try_clone()?,
            at: entry.offset,
            end: entry.offset + entry.size,
        };
        let mut hash = Sha256::new();
        let mut piece = vec![0; PIECE];
        loop {
            go_on(watch)?;
            let count = content.read(&mut piece)?;
            if count == 0 {
                return Ok(hex(&hash.finalize()));
            }
            hash.update(&piece[..count]);
            *done += count as u64;
            watch.done(*done);
        }
    }
}

/// The content of one entry. Does not move the file's own position.
pub(super) struct Content {
    file: File,
    at: u64,
    end: u64,
}

impl Read for Content {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end - self.at).unwrap_or(usize::MAX);
        let most = into.len().min(left);
        if most == 0 {
            return Ok(0);
        }
        let count = self.file.read_at(&mut into[..most], self.at)?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.at += count as u64;
        Ok(count)
    }
}

const NOT_OURS: &str = "this is no backup of an Openflow installation";
const CUT: &str = "the archive is not complete: it was cut while it was made or copied. Copy it anew, or take an older one";

/// All entries, in order, from their headers.
fn scan(file: &File, length: u64) -> anyhow::Result<Vec<Entry>> {
    let mut file = file.try_clone()?;
    file.seek(SeekFrom::Start(0))?;
    let mut archive = tar::Archive::new(file);
    let (mut entries, mut names) = (Vec::new(), HashSet::new());
    for raw in archive.entries_with_seek().context(NOT_OURS)?.raw(true) {
        let entry = match raw {
            Ok(entry) => entry,
            Err(_) if entries.is_empty() => bail!(NOT_OURS),
            Err(error) => bail!("the archive is damaged: {error}"),
        };
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        if entries.is_empty() && name != README {
            bail!(NOT_OURS);
        }
        ensure!(
            entry.header().entry_type() == tar::EntryType::Regular,
            "the archive holds {name:?}, which is no plain file; nothing was touched"
        );
        ensure!(
            names.insert(name.clone()) && entries.len() < ENTRIES_MAX,
            "the archive holds {name:?} twice; nothing was touched"
        );
        let (offset, size) = (entry.raw_file_position(), entry.header().entry_size()?);
        let end = offset.checked_add(size);
        ensure!(end.is_some_and(|it| it <= length), CUT);
        entries.push(Entry { name, offset, size });
    }
    ensure!(!entries.is_empty(), NOT_OURS);
    let last: Vec<&str> = entries.iter().rev().take(2).map(|it| &*it.name).collect();
    ensure!(last == [SUMS, MANIFEST], CUT);
    let end = entries.last().map_or(0, |it| it.offset + it.size);
    ensure!(length == end.next_multiple_of(BLOCK) + END, CUT);
    Ok(entries)
}

fn manifest_of(file: &File, entries: &[Entry]) -> anyhow::Result<Vec<u8>> {
    let entry = &entries[entries.len() - 2];
    ensure!(
        entry.size <= MANIFEST_BYTES_MAX,
        "the archive is damaged: {MANIFEST} is far too big"
    );
    let mut bytes = Vec::new();
    let mut content = Content {
        file: file.try_clone()?,
        at: entry.offset,
        end: entry.offset + entry.size,
    };
    content.read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|it| format!("{it:02x}")).collect()
}
