//! The keys in `data/keys/`, without which sealed secrets do not open.
use std::{
    fs,
    io::{self, BufReader, Read as _},
    path::Path,
    sync::Arc,
};

use anyhow::{Context as _, bail, ensure};
use flate2::read::GzDecoder;
use uuid::Uuid;

use super::{
    Archive,
    database::copy_text,
    manifest::{Kind, Table},
};
use crate::{
    access::{self, SealedInstanceKeys},
    config::Config,
    crypto::{KeyRing, KeyRingError},
    kernel::InstanceId,
};

/// In `data/keys/`; the first opens everything else.
pub const KEY_FILES: [&str; 3] = ["secret.keys", "proxy.secret", "hook.secret"];

/// Where the keys of a restore come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// `OPENFLOW_SECRET_KEYS`
    Setting,
    /// `--keys`
    Given,
    /// `data/keys/` had them already.
    InPlace,
    Archive,
}

/// The installation's keys, and the files that hold them.
pub struct Keys {
    pub ring: Arc<KeyRing>,
    pub source: KeySource,
    /// Names in `data/keys/` and contents.
    pub(super) files: Vec<(&'static str, Vec<u8>)>,
}

impl Keys {
    /// Those in use here; makes none. For a backup.
    pub fn in_use(config: &Config) -> anyhow::Result<Self> {
        let secrets = &config.secrets;
        let set = [&secrets.keys, &secrets.proxy, &secrets.hook];
        let mut files = Vec::new();
        for (name, set) in KEY_FILES.into_iter().zip(set) {
            let content = match set {
                Some(secret) => Some(format!("{}\n", secret.expose()).into_bytes()),
                None => read(&config.data.key_file(name))?,
            };
            files.extend(content.map(|it| (name, it)));
        }
        let path = config.data.key_file(KEY_FILES[0]);
        let ring = ring_of(&files)?.with_context(|| {
            format!(
                "no OPENFLOW_SECRET_KEYS is set, and there is no {}. Is this the data folder of the installation (--data-dir)?",
                path.display()
            )
        })?;
        Ok(Self {
            ring: Arc::new(ring),
            source: KeySource::InPlace,
            files,
        })
    }

    /// Fails unless these are the keys of the installation whose sealed secrets
    /// these are: a backup that names others is worth nothing.
    pub(super) fn try_on(&self, secrets: &[(String, Vec<u8>)]) -> anyhow::Result<()> {
        for (name, sealed) in secrets {
            if let Err(error) = access::open_secret(&self.ring, name, sealed) {
                bail!(
                    "these are not the keys of this installation ({error}). Set OPENFLOW_SECRET_KEYS, DATABASE_URL and --data-dir as its manager has them."
                );
            }
        }
        Ok(())
    }

    /// Those for a restore: set, else given, else in place, else in the
    /// archive. `given` is a copy of `data/keys/` or of its `secret.keys`.
    pub fn find(config: &Config, given: Option<&Path>, archive: &Archive) -> anyhow::Result<Self> {
        let set = config.secrets.keys.as_ref();
        if let (Some(_), Some(given)) = (set, given) {
            bail!(
                "OPENFLOW_SECRET_KEYS is set and --keys {} is given: leave one out",
                given.display()
            );
        }
        let in_place = config.data.key_file("");
        let (source, mut files) = match (set, given) {
            (Some(_), _) => (KeySource::Setting, read_all(&in_place)?),
            (None, Some(given)) => (KeySource::Given, read_given(given)?),
            (None, None) => (KeySource::InPlace, read_all(&in_place)?),
        };
        let has = |files: &[(&str, Vec<u8>)], name| files.iter().any(|(it, _)| *it == name);
        let needed = source == KeySource::InPlace && !has(&files, KEY_FILES[0]);
        let archived = archive.keys()?;
        let source = if needed { KeySource::Archive } else { source };
        for (name, content) in archived {
            if !has(&files, name) && (needed || name != KEY_FILES[0]) {
                files.push((name, content));
            }
        }
        if source == KeySource::Given {
            refuse_others(&in_place, &files)?;
        }
        let ring = match set {
            Some(keys) => Some(KeyRing::parse(keys.expose())?),
            None => ring_of(&files)?,
        };
        let ring = ring.with_context(|| {
            format!(
                "the archive was made without keys. Give the copy of data/keys that was kept apart: --keys FOLDER, or put it to {} first.",
                in_place.display()
            )
        })?;
        Ok(Self {
            ring: Arc::new(ring),
            source,
            files,
        })
    }

    /// Fails unless these keys open what is sealed in the dump. Some of it is
    /// tried; the newest key of the installation has to be there, since anything
    /// may be sealed with it.
    pub fn check(&self, archive: &Archive) -> anyhow::Result<()> {
        let newest = archive.manifest().key_ids.first();
        if newest.is_some_and(|it| !self.ring.ids().contains(it)) {
            return Err(self.wrong(KeyRingError::UnknownKey, archive));
        }
        let tables = &archive.manifest().database.tables;
        for table in tables.iter().filter(|it| it.name == "secrets") {
            each_row(archive, table, ["name", "value_sealed"], |row| {
                let [name, sealed] = row;
                let name = String::from_utf8(name)?;
                let opened = access::open_secret(&self.ring, &name, &copy_text::bytea(&sealed)?);
                opened.map(drop).map_err(|it| self.wrong(it, archive))
            })?;
        }
        let columns = [
            "id",
            "magic_token_sealed",
            "credential_secret_sealed",
            "mqtt_password_sealed",
        ];
        for table in tables.iter().filter(|it| it.name == "instances") {
            each_row(archive, table, columns, |[id, magic, credential, mqtt]| {
                let id = InstanceId(Uuid::try_parse_ascii(&id)?);
                let (magic, mqtt) = (copy_text::bytea(&magic)?, copy_text::bytea(&mqtt)?);
                let credential = copy_text::bytea(&credential)?;
                let opened = SealedInstanceKeys::open(&self.ring, id, &magic, &credential, &mqtt);
                opened.map(drop).map_err(|it| self.wrong(it, archive))
            })?;
        }
        Ok(())
    }

    fn wrong(&self, error: KeyRingError, archive: &Archive) -> anyhow::Error {
        match error {
            KeyRingError::UnknownKey => anyhow::anyhow!(
                "these are not the keys of this archive: it needs {}, and {} has {}. Nothing was touched.",
                archive.manifest().key_ids.join(", "),
                self.source.name(),
                self.ring.ids().join(", "),
            ),
            other => anyhow::Error::new(other).context("a sealed secret of the archive"),
        }
    }
}

impl KeySource {
    /// As a person knows it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Setting => "OPENFLOW_SECRET_KEYS",
            Self::Given => "--keys",
            Self::InPlace => "data/keys",
            Self::Archive => "the archive itself",
        }
    }
}

fn ring_of(files: &[(&str, Vec<u8>)]) -> anyhow::Result<Option<KeyRing>> {
    let Some((_, content)) = files.iter().find(|(name, _)| *name == KEY_FILES[0]) else {
        return Ok(None);
    };
    let text = std::str::from_utf8(content).context("secret.keys is not text")?;
    Ok(Some(KeyRing::parse(text).context("secret.keys")?))
}

fn read(path: &Path) -> anyhow::Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(content) => Ok(Some(content)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

fn read_all(folder: &Path) -> anyhow::Result<Vec<(&'static str, Vec<u8>)>> {
    let mut files = Vec::new();
    for name in KEY_FILES {
        files.extend(read(&folder.join(name))?.map(|it| (name, it)));
    }
    Ok(files)
}

fn read_given(path: &Path) -> anyhow::Result<Vec<(&'static str, Vec<u8>)>> {
    if path.is_dir() {
        let files = read_all(path)?;
        ensure!(
            files.iter().any(|(name, _)| *name == KEY_FILES[0]),
            "there is no {} in {}",
            KEY_FILES[0],
            path.display()
        );
        return Ok(files);
    }
    let content = read(path)?.with_context(|| format!("there is no {}", path.display()))?;
    Ok(vec![(KEY_FILES[0], content)])
}

/// What is in place stays, and must be what is given: the manager would start
/// with it.
fn refuse_others(in_place: &Path, given: &[(&str, Vec<u8>)]) -> anyhow::Result<()> {
    for (name, content) in given {
        let path = in_place.join(name);
        let other = read(&path)?.is_some_and(|it| it.trim_ascii() != content.trim_ascii());
        ensure!(
            !other,
            "{} holds other keys than those given by --keys. Move it away, or leave --keys out. Nothing was touched.",
            path.display()
        );
    }
    Ok(())
}

/// The named columns of each row of a dumped table.
fn each_row<const N: usize>(
    archive: &Archive,
    table: &Table,
    columns: [&str; N],
    mut visit: impl FnMut([Vec<u8>; N]) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut places = [0; N];
    for (place, column) in places.iter_mut().zip(columns) {
        let found = table.columns.iter().position(|it| it == column);
        *place = found.with_context(|| format!("the archive lacks {}.{column}", table.name))?;
    }
    let content = archive.content(&Kind::Table(table.name.clone()))?;
    let mut rows = BufReader::new(GzDecoder::new(content).take(table.bytes + 1));
    while let Some(mut row) = copy_text::next_row(&mut rows)? {
        ensure!(
            row.len() == table.columns.len(),
            "the archive is damaged: a row of {} is not whole",
            table.name
        );
        visit(places.map(|it| row[it].take().unwrap_or_default()))?;
    }
    Ok(())
}
