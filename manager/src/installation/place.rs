//! The data folder that an installation is brought back to.
use std::{
    collections::BTreeSet,
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, ErrorKind, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail, ensure};
use nix::unistd::{getegid, geteuid};
use openflow_archive::remove_tree;
use serde::{Deserialize, Serialize};

use super::{
    Archive, Keys, Target,
    manifest::{Kind, SETTINGS},
    space::Guard,
    watch::{Watch, go_on},
};
use crate::{
    config::DataConfig,
    instances::{DataFolders, forget_database},
};

/// There from before the first write until the restore is over.
const MARKER: &str = "restore.unfinished";
/// Where everything is put before it gets its name.
const STAGING: &str = "restore.staging";
/// What a restore makes, and what one that is taken back removes.
const MADE: [&str; 5] = ["postgres", "instances", "mqtt", "keys", SETTINGS];
/// What may be there: the lock, a disk's own folder.
const HARMLESS: [&str; 2] = ["openflow.lock", "lost+found"];

/// `restore.unfinished`
#[derive(Clone, Serialize, Deserialize)]
struct Marker {
    /// Says what it is to whoever opens it.
    note: String,
    target: Target,
    /// The database was found free and is being filled: from then on what is in
    /// it is ours to remove.
    #[serde(default)]
    database_begun: bool,
    /// Names below the data folder that were there before, with `/` below
    /// `keys/`. They are not ours to remove.
    before: BTreeSet<String>,
}

/// The data folder during a restore.
pub struct Place {
    data: DataConfig,
    marker: Marker,
    /// An earlier restore into the same database was cut short: what is in it
    /// is not worth keeping.
    pub wipes_database: bool,
}

/// Nothing starts on a half-restored installation.
pub fn refuse_unfinished(data: &DataConfig) -> anyhow::Result<()> {
    let marker = data.path().join(MARKER);
    ensure!(
        !marker.exists(),
        "a restore into {} was cut short ({} is there). Run the same openflow restore again: it cleans up and begins anew.",
        data.path().display(),
        marker.display()
    );
    Ok(())
}

impl Place {
    /// Looks whether the folder is free, removes what a restore left there
    /// that was cut short, and marks it. The caller holds the folder's lock.
    pub fn prepare(data: &DataConfig, archive: &Archive, target: &Target) -> anyhow::Result<Self> {
        let left = read_marker(data)?;
        let begun = left.as_ref().filter(|it| it.database_begun);
        let wipes_database = begun.is_some_and(|it| it.target == *target);
        if let Some(left) = &left {
            ensure!(
                wipes_database || !left.database_begun,
                "a restore into {} was cut short, and it went to another database ({}) than this one ({}). Use the same DATABASE_URL, or empty both and remove {MARKER}.",
                data.path().display(),
                left.target.0,
                target.0
            );
            tracing::info!("an earlier restore was cut short; cleaning up after it");
        }
        let before = match left {
            Some(left) => left.before,
            None => look(data, archive)?,
        };
        Guard::new(data.path(), archive.manifest().data_bytes())?;
        let it = Self {
            data: data.clone(),
            marker: Marker {
                note: "A restore is under way or was cut short. openflow restore begins it anew."
                    .to_owned(),
                target: target.clone(),
                database_begun: wipes_database,
                before,
            },
            wipes_database,
        };
        it.write_marker(wipes_database)?;
        it.remove_files()?;
        DirBuilder::new().mode(0o711).create(it.staging())?;
        Ok(it)
    }

    /// The database is free, and is filled from now on: if that is cut short,
    /// the next restore into it empties it.
    pub fn begin_database(&self) -> anyhow::Result<()> {
        self.write_marker(true)
    }

    /// Unpacks everything beside. Whatever is wrong with the archive is found
    /// here at the latest.
    pub fn unpack(&self, archive: &Archive, keys: &Keys, watch: &dyn Watch) -> anyhow::Result<()> {
        let folders = DataFolders::new(&std::path::absolute(self.data.path())?);
        let instances = self.staging().join("instances");
        // As the manager makes it: others may pass through, not look around.
        DirBuilder::new().mode(0o711).create(&instances)?;
        let folders_in = archive.folders();
        let all = folders_in.len();
        for (at, id) in folders_in.into_iter().enumerate() {
            let info = archive.manifest().instances.iter().find(|it| it.id == id);
            let name = info.map_or("", |it| it.name.as_str());
            let kind = Kind::Instance(id);
            let what = format!("Unpacking {name} ({} of {all})", at + 1);
            watch.begin(&what, archive.size_of(&kind));
            let into = instances.join(id.to_string());
            archive.unpack(&kind, &into, folders.owner(), watch)?;
            forget_database(&into).with_context(|| format!("cannot look into {name}'s folder"))?;
            go_on(watch)?;
        }
        if archive.has(&Kind::Mqtt) {
            let own = (geteuid().as_raw(), getegid().as_raw());
            let into = self.staging().join("mqtt");
            watch.begin("Unpacking the MQTT broker's messages", 0);
            archive.unpack(&Kind::Mqtt, &into, own, watch)?;
        }
        if archive.has(&Kind::Settings) {
            let content = archive.read(&Kind::Settings)?;
            write_new(&self.staging().join(SETTINGS), &content)?;
        }
        self.stage_keys(keys)
    }

    fn stage_keys(&self, keys: &Keys) -> anyhow::Result<()> {
        let folder = self.staging().join("keys");
        DirBuilder::new().mode(0o700).create(&folder)?;
        for (name, content) in &keys.files {
            if !self.marker.before.contains(&format!("keys/{name}")) {
                write_new(&folder.join(name), content)?;
            }
        }
        sync(&folder)
    }

    /// Gives everything its name. The database is loaded.
    pub fn publish(&self) -> anyhow::Result<()> {
        let staging = self.staging();
        let root = self.data.path();
        for name in ["instances", "mqtt", SETTINGS] {
            rename_if_there(&staging.join(name), &root.join(name))?;
        }
        let keys = root.join("keys");
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&keys)?;
        for entry in fs::read_dir(staging.join("keys"))? {
            let entry = entry?;
            fs::rename(entry.path(), keys.join(entry.file_name()))?;
        }
        sync(&keys)?;
        remove_tree(&staging)?;
        sync(root)?;
        fs::remove_file(self.marker_path())?;
        sync(root)
    }

    /// Takes it all back: the folder is as it was before. The database is not in
    /// use any more. After an earlier restore that was cut short the marker
    /// stays, since nobody knows whether its rows are gone by now.
    pub fn undo(&self) -> anyhow::Result<()> {
        self.remove_files()?;
        self.remove("postgres")?;
        if !self.wipes_database {
            fs::remove_file(self.marker_path())?;
        }
        sync(self.data.path())
    }

    /// All but the private database, which is emptied instead: its server may
    /// run.
    fn remove_files(&self) -> anyhow::Result<()> {
        for name in MADE.iter().filter(|it| !["postgres", "keys"].contains(it)) {
            self.remove(name)?;
        }
        for name in super::KEY_FILES {
            self.remove(&format!("keys/{name}"))?;
        }
        // Only when it is empty.
        if !self.marker.before.contains("keys") {
            let _ = fs::remove_dir(self.data.path().join("keys"));
        }
        self.remove(STAGING)
    }

    fn remove(&self, name: &str) -> anyhow::Result<()> {
        if self.marker.before.contains(name) {
            return Ok(());
        }
        let path = self.data.path().join(name);
        remove_tree(&path).with_context(|| format!("cannot remove {}", path.display()))
    }

    fn staging(&self) -> PathBuf {
        self.data.path().join(STAGING)
    }

    fn marker_path(&self) -> PathBuf {
        self.data.path().join(MARKER)
    }

    fn write_marker(&self, database_begun: bool) -> anyhow::Result<()> {
        let marker = Marker {
            database_begun,
            ..self.marker.clone()
        };
        let new = self.data.path().join(format!("{MARKER}.new"));
        let _ = fs::remove_file(&new); // of one that was killed here
        write_new(&new, &serde_json::to_vec_pretty(&marker)?)?;
        fs::rename(&new, self.marker_path())?;
        sync(self.data.path())
    }
}

fn read_marker(data: &DataConfig) -> anyhow::Result<Option<Marker>> {
    let path = data.path().join(MARKER);
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| path.display().to_string()),
    };
    let marker = serde_json::from_slice(&text);
    Ok(Some(marker.with_context(|| {
        format!("{} is not what a restore writes", path.display())
    })?))
}

/// What is there, if nothing of it is in the way.
fn look(data: &DataConfig, archive: &Archive) -> anyhow::Result<BTreeSet<String>> {
    let mut before = BTreeSet::new();
    for entry in fs::read_dir(data.path())? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_archive = entry
            .path()
            .canonicalize()
            .is_ok_and(|it| it == archive.path());
        if name == "keys" {
            for file in fs::read_dir(entry.path())? {
                let file = file?.file_name();
                before.insert(format!("keys/{}", file.to_string_lossy()));
            }
        } else if !HARMLESS.contains(&name.as_str())
            && !is_archive
            && name != format!("{MARKER}.new")
        {
            bail!(
                "the data folder {} is in use: it holds {name}. Restore into an empty folder (--data-dir), or move what is there away. Nothing was touched.",
                data.path().display()
            );
        }
        before.insert(name);
    }
    Ok(before)
}

fn rename_if_there(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn write_new(path: &Path, content: &[u8]) -> anyhow::Result<()> {
    let write = || -> io::Result<()> {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)?;
        file.write_all(content)?;
        file.sync_all()
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

fn sync(folder: &Path) -> anyhow::Result<()> {
    let synced = File::open(folder).and_then(|it| it.sync_all());
    synced.with_context(|| format!("cannot write {}", folder.display()))
}
