use std::time::Duration;

use openflow_route_api as route_api;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::{Kind, n8n, node_red};

/// Flows of an instance, as text.
pub const FLOWS_BYTES_MAX: u64 = 32 << 20;
const MODULE_NAME_BYTES_MAX: usize = 214; // npm's own limit
const MODULE_VERSION_BYTES_MAX: usize = 64;

/// The program that an instance runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Engine {
    /// What an instance runs when nobody says.
    #[default]
    NodeRed,
    N8n,
}

impl Engine {
    pub const ALL: [Self; 2] = [Self::NodeRed, Self::N8n];

    /// What is special about it.
    pub fn kind(self) -> &'static dyn Kind {
        match self {
            Self::NodeRed => &node_red::NodeRed,
            Self::N8n => &n8n::N8n,
        }
    }

    pub fn facts(self) -> &'static Facts {
        self.kind().facts()
    }

    pub fn as_str(self) -> &'static str {
        self.facts().name
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.as_str() == text)
    }
}

impl From<Engine> for route_api::Engine {
    fn from(engine: Engine) -> Self {
        match engine {
            Engine::NodeRed => Self::NodeRed,
            Engine::N8n => Self::N8n,
        }
    }
}

/// What is fixed about an engine.
#[derive(Debug)]
pub struct Facts {
    /// In the API, in labels and in the database.
    pub name: &'static str,
    /// For people.
    pub title: &'static str,
    /// Where it listens inside its container.
    pub port: u16,
    /// Containers are named `<prefix>-<subdomain>`.
    pub container_prefix: &'static str,
    /// It cannot start with less; why is said by `memory_why`.
    pub memory_mb_min: i32,
    /// What a new instance gets at least when nobody asks for a number.
    pub memory_mb_default: i32,
    pub memory_why: &'static str,
    pub pids_max: i64,
    /// Of `/tmp`, which counts as the container's memory.
    pub tmp_bytes: i64,
    pub stop_grace: Duration,
    /// A start is worth so many cores, whatever the instance has afterwards.
    pub start_cpus: f64,
    /// It is up without its flows for at most so long, unless they never start.
    pub flows_wait: Duration,
    /// It can start without its flows (`OPENFLOW_SAFE_MODE`).
    pub has_safe_mode: bool,
    /// A restore is handed to it while it runs ([`super::HandedOver`]).
    pub restores_running: bool,
    /// The program in its images that tries out a copy of its data, and what
    /// it needs beside the engine. docs/wire.md says what it answers.
    pub rehearsal: [&'static str; 2],
    pub rehearsal_memory_mb_min: i32,
    /// How it keeps its data in PostgreSQL; none when it cannot.
    pub postgres: Option<Postgres>,
    /// Templates that an installation begins with.
    pub templates: &'static [FirstTemplate],
    /// What its licence asks of whoever runs it for others; none when nothing.
    pub licence: Option<&'static str>,
}

/// How an engine keeps its data in PostgreSQL.
#[derive(Debug)]
pub struct Postgres {
    /// The secret file with the URL of its database.
    pub url_file: &'static str,
    /// Where [`Kind::dump`] puts a dump, in the data folder.
    pub dump_file: &'static str,
    /// What in the data folder says which part of the database is its own. A
    /// folder without it takes its dump for all there is.
    pub pointer_file: &'static str,
}

/// Where the instances of a stack keep their data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Storage {
    /// All of it in the data folder.
    #[default]
    Files,
    /// What the engine keeps in a database in PostgreSQL, each instance in a
    /// database of its own; the rest in the data folder.
    Postgres,
}

impl Storage {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Files => "files",
            Self::Postgres => "postgres",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        [Self::Files, Self::Postgres]
            .into_iter()
            .find(|it| it.as_str() == text)
    }
}

/// A template that an installation begins with.
#[derive(Debug)]
pub struct FirstTemplate {
    pub name: &'static str,
    pub description: &'static str,
    /// JSON, as the engine's editor exports it.
    pub flows: Option<&'static str>,
}

/// Credentials in the open, by the id of the node that they belong to. Handle
/// with care.
pub type Credentials = Map<String, Value>;

/// The file or field that holds credentials is `0`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CredentialsError {
    #[error("{0} is not as the engine writes it")]
    Damaged(&'static str),
    #[error("{0} was not encrypted with this instance's key")]
    WrongKey(&'static str),
}

/// Why an instance's content cannot be read; words for a person.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    #[error("The instance has no data yet; start it once.")]
    NoData,
    #[error("The flows are being written all the time; try again in a moment.")]
    Busy,
    /// It is not as the engine writes it.
    #[error("{0}")]
    Unreadable(String),
    /// The engine could not be asked.
    #[error("{0}")]
    Away(String),
}

/// What an engine holds, as it holds it.
#[derive(Clone, Debug)]
pub struct Sealed {
    /// In the engine's own words; [`Kind::nodes`] understands them.
    pub flows: String,
    /// Encrypted; [`Kind::open`] decrypts them.
    pub credentials: Vec<u8>,
    pub modules: Vec<Installed>,
}

/// An npm module that the engine loads nodes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Module {
    /// As in the npm registry, `@scope/name` or `name`.
    pub name: String,
    /// An exact version; the newest when absent.
    #[serde(default)]
    pub version: Option<String>,
}

impl Module {
    /// Whether it can be nothing but a module of the npm registry. Names and
    /// versions go into a request to the engine, which hands them to npm.
    pub fn is_plain(&self) -> bool {
        let name = &self.name;
        let plain = match name.strip_prefix('@') {
            Some(scoped) => scoped
                .split_once('/')
                .is_some_and(|(scope, name)| is_plain_part(scope) && is_plain_part(name)),
            None => is_plain_part(name),
        };
        let version = self.version.as_deref();
        plain && name.len() <= MODULE_NAME_BYTES_MAX && version.is_none_or(is_plain_version)
    }
}

fn is_plain_part(text: &str) -> bool {
    let may_be = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c);
    text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.chars().all(may_be)
}

fn is_plain_version(text: &str) -> bool {
    text.len() <= MODULE_VERSION_BYTES_MAX
        && text.starts_with(|c: char| c.is_ascii_digit())
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-.+".contains(c))
}

/// A module that an instance has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Installed {
    pub name: String,
    /// Empty when it is asked for and not installed.
    pub version: String,
    /// It did not come from the npm registry: what has its name there may be
    /// anything.
    #[serde(default)]
    pub local: bool,
}

impl Installed {
    /// What the engine is asked to install.
    pub fn wanted(&self) -> Module {
        Module {
            name: self.name.clone(),
            version: (!self.version.is_empty()).then(|| self.version.clone()),
        }
    }
}

/// Whether a node is a tab (a workflow), on which others are.
pub fn is_tab(node: &Value) -> bool {
    node["type"] == "tab"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_are_plain_registry_names() {
        let module = |name: &str, version: Option<&str>| Module {
            name: name.to_owned(),
            version: version.map(str::to_owned),
        };
        for good in [
            module("node-red-node-random", None),
            module("@a/b.c", Some("1.2.3-beta.1")),
        ] {
            assert!(good.is_plain(), "{good:?}");
        }
        for bad in [
            module("", None),
            module("../etc", None),
            module("git+https://x", None),
            module("@a", None),
            module("a", Some("file:../x")),
            module("a", Some("latest; rm")),
            module("--registry=http://evil", None),
        ] {
            assert!(!bad.is_plain(), "{bad:?}");
        }
    }

    #[test]
    fn a_name_leads_back_to_its_engine() {
        for engine in Engine::ALL {
            assert_eq!(Engine::parse(engine.as_str()), Some(engine));
            assert_eq!(serde_json::json!(engine), engine.as_str());
        }
        assert_eq!(Engine::parse("node_red"), None);
    }
}
