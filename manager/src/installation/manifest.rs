//! What an archive says of itself.
use anyhow::{Context as _, bail, ensure};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The first entry: what the file is, for whoever opens it with `tar`.
pub(super) const README: &str = "README.txt";
/// The last entry but one.
pub(super) const MANIFEST: &str = "openflow.json";
/// The last entry: `sha256sum -c` knows it. Without it the file was cut.
pub(super) const SUMS: &str = "SHA256SUMS";
pub(super) const MQTT: &str = "mqtt.tar.gz";
pub(super) const SETTINGS: &str = "settings.env";

const FORMAT: &str = "openflow-installation";
const VERSION: u32 = 1;

/// `openflow.json`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    pub format: String,
    pub version: u32,
    /// The version of the program that made it.
    pub openflow: String,
    pub created_at: DateTime<Utc>,
    pub public_url: String,
    pub domain: String,
    /// Whether `keys/` is in it.
    pub with_keys: bool,
    /// Names of the keys that were in use, newest first; not secret.
    pub key_ids: Vec<String>,
    pub database: DatabaseInfo,
    pub instances: Vec<InstanceInfo>,
    /// The built-in broker's files; `None`: there were none.
    pub mqtt: Option<DataInfo>,
    /// All entries but this one and `SHA256SUMS`, in the order of the file.
    pub members: Vec<Member>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Member {
    pub name: String,
    pub size: u64,
    /// Lower-case hex.
    pub sha256: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DatabaseInfo {
    /// The newest migration that the database had.
    pub schema_version: i64,
    /// As the server tells its version.
    pub server: String,
    /// In the order in which they can be loaded.
    pub tables: Vec<Table>,
    pub sequences: Vec<Sequence>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Table {
    pub name: String,
    /// Those that are in the dump, in its order.
    pub columns: Vec<String>,
    pub rows: u64,
    /// Before compression.
    pub bytes: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Sequence {
    pub name: String,
    pub last: i64,
}

/// An instance, and how its data folder was copied.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InstanceInfo {
    pub id: Uuid,
    pub name: String,
    pub subdomain: String,
    pub image: String,
    /// `running` or `stopped`
    pub desired: String,
    /// `None`: it had no data folder, or could not be copied.
    pub data: Option<DataInfo>,
    /// Why it could not be copied.
    #[serde(default)]
    pub missing: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DataInfo {
    pub files: u64,
    pub bytes: u64,
    /// All files are of one moment.
    pub consistent: bool,
    pub frozen_ms: Option<u64>,
    /// Paths with the reason; the first hundred.
    pub skipped: Vec<String>,
}

/// What a manifest of any version has.
#[derive(Deserialize)]
struct Head {
    format: String,
    version: u32,
    openflow: String,
}

impl Manifest {
    pub(super) fn format() -> (String, u32) {
        (FORMAT.to_owned(), VERSION)
    }

    /// Refuses what is not ours, and what a newer Openflow made.
    pub(super) fn parse(bytes: &[u8]) -> anyhow::Result<Self> {
        let head: Head = serde_json::from_slice(bytes)
            .context("openflow.json in the archive is not what Openflow writes")?;
        ensure!(
            head.format == FORMAT,
            "this is no backup of an Openflow installation (its format is {:?})",
            head.format
        );
        if VERSION < head.version {
            bail!(
                "the archive was made by Openflow {} in a newer format ({}) than this Openflow {} reads ({VERSION}). Install Openflow {} or later.",
                head.openflow,
                head.version,
                env!("CARGO_PKG_VERSION"),
                head.openflow,
            );
        }
        serde_json::from_slice(bytes)
            .context("openflow.json in the archive is not what Openflow writes")
    }

    /// Bytes of the data folders and tables, before compression.
    pub fn data_bytes(&self) -> u64 {
        let folders = self.instances.iter().filter_map(|it| it.data.as_ref());
        let folders = folders.chain(&self.mqtt);
        let tables = self.database.tables.iter().map(|it| it.bytes);
        folders.map(|it| it.bytes).chain(tables).sum()
    }

    /// What was not copied as it should, in words for a person.
    pub fn remarks(&self) -> Vec<String> {
        let mut remarks = Vec::new();
        for it in &self.instances {
            match &it.data {
                None => match &it.missing {
                    Some(why) => remarks.push(format!("{} IS NOT IN IT: {why}", it.name)),
                    None => remarks.push(format!("{} has no data folder", it.name)),
                },
                Some(data) => {
                    if !data.consistent {
                        remarks.push(format!(
                            "{} was copied while it ran on; its files may be of different moments",
                            it.name
                        ));
                    }
                    for skipped in &data.skipped {
                        remarks.push(format!("{}: left out {skipped}", it.name));
                    }
                }
            }
        }
        for skipped in self.mqtt.iter().flat_map(|it| &it.skipped) {
            remarks.push(format!("the MQTT broker's files: left out {skipped}"));
        }
        // Names of files and instances are whatever tenants made them.
        let plain = |it: char| if it.is_control() { '?' } else { it };
        let remarks = remarks.into_iter();
        remarks.map(|it| it.chars().map(plain).collect()).collect()
    }
}

/// What an entry is, by its name. Any other name is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Readme,
    /// The rows of the table of that name.
    Table(String),
    Instance(Uuid),
    Mqtt,
    Settings,
    /// The key file of that name.
    Key(&'static str),
}

impl Kind {
    pub(super) fn of(name: &str) -> Option<Self> {
        if let Some(table) = between(name, "database/", ".copy.gz") {
            return is_plain(table).then(|| Self::Table(table.to_owned()));
        }
        if let Some(id) = between(name, "instances/", ".tar.gz") {
            let uuid: Uuid = id.parse().ok()?;
            return (uuid.to_string() == id).then_some(Self::Instance(uuid));
        }
        if let Some(file) = name.strip_prefix("keys/") {
            let known = super::KEY_FILES.iter().find(|it| **it == file);
            return known.map(|it| Self::Key(it));
        }
        match name {
            README => Some(Self::Readme),
            MQTT => Some(Self::Mqtt),
            SETTINGS => Some(Self::Settings),
            _ => None,
        }
    }

    pub(super) fn name(&self) -> String {
        match self {
            Self::Readme => README.to_owned(),
            Self::Table(table) => format!("database/{table}.copy.gz"),
            Self::Instance(id) => format!("instances/{id}.tar.gz"),
            Self::Mqtt => MQTT.to_owned(),
            Self::Settings => SETTINGS.to_owned(),
            Self::Key(name) => format!("keys/{name}"),
        }
    }
}

fn between<'a>(name: &'a str, before: &str, after: &str) -> Option<&'a str> {
    name.strip_prefix(before)?.strip_suffix(after)
}

/// Names of tables, columns and sequences as our migrations have them. They
/// get into SQL text.
pub(super) fn is_plain(name: &str) -> bool {
    let allowed = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'_';
    (1..=63).contains(&name.len()) && name.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_a_backup_writes_are_known() {
        let id = Uuid::nil();
        for name in [
            README.to_owned(),
            MQTT.to_owned(),
            "database/users.copy.gz".to_owned(),
            format!("instances/{id}.tar.gz"),
            "keys/secret.keys".to_owned(),
        ] {
            assert_eq!(Kind::of(&name).unwrap().name(), name);
        }
        for name in [
            "",
            "/etc/passwd",
            "../README.txt",
            "database/../users.copy.gz",
            "database/Users.copy.gz",
            "database/.copy.gz",
            "instances/../x.tar.gz",
            "instances/00000000000000000000000000000000.tar.gz",
            "keys/../secret.keys",
            "keys/id_rsa",
            "instances",
        ] {
            assert_eq!(Kind::of(name), None, "{name}");
        }
    }

    #[test]
    fn foreign_and_newer_manifests_are_told_apart() {
        let parse = |text: &str| Manifest::parse(text.as_bytes()).unwrap_err().to_string();
        assert!(parse("{").contains("not what Openflow writes"));
        let foreign = r#"{"format": "other", "version": 1, "openflow": "1.0.0"}"#;
        assert!(parse(foreign).contains("no backup of an Openflow"));
        let newer = r#"{"format": "openflow-installation", "version": 9, "openflow": "8.1.0"}"#;
        assert!(parse(newer).contains("Install Openflow 8.1.0"));
    }
}
