use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::Error;
use crate::{
    crypto::{keyed_hash, sha256},
    engines::{Credentials, Engine, Installed},
    kernel::{InstanceId, ProjectId, Secret, SnapshotId},
    stacks::EnvVar,
};

pub(super) const NAME_CHARS_MAX: usize = 100;
pub(super) const DESCRIPTION_CHARS_MAX: usize = 2000;

/// Why a snapshot was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SnapshotKind {
    /// Somebody took it, or imported it.
    Manual,
    /// After a deploy, or before an upgrade.
    Auto,
    /// What was there before a restore.
    BeforeRestore,
}

impl SnapshotKind {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Manual => "manual",
            Self::Auto => "auto",
            Self::BeforeRestore => "before-restore",
        }
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        [Self::Manual, Self::Auto, Self::BeforeRestore]
            .into_iter()
            .find(|it| it.as_str() == text)
    }

    /// The newest so many are kept; of those that people took none goes by
    /// itself.
    pub(super) fn kept(self) -> Option<i64> {
        match self {
            Self::Manual => None,
            Self::Auto => Some(10),
            Self::BeforeRestore => Some(20),
        }
    }
}

#[derive(Clone, Debug)]
pub struct Snapshot {
    pub id: SnapshotId,
    pub instance: InstanceId,
    pub project: ProjectId,
    pub kind: SnapshotKind,
    pub name: String,
    pub description: String,
    /// Who took it, as they were called.
    pub author: String,
    pub engine: Engine,
    /// Empty when the stack's image does not say.
    pub engine_version: String,
    pub nodes: i32,
    pub tabs: i32,
    pub modules: Vec<Installed>,
    pub env: Vec<EnvVar>,
    /// Of so many nodes.
    pub credentials: i32,
    /// As stored.
    pub size_bytes: i64,
    pub created_at: DateTime<Utc>,
}

/// Flows as text, which is kept as it is, and as nodes.
#[derive(Clone, Debug)]
pub(super) struct Flows {
    pub(super) text: String,
    pub(super) nodes: Vec<Value>,
}

impl Flows {
    /// Fails with the reason, for a person.
    pub(super) fn parse(engine: Engine, text: String) -> Result<Self, String> {
        let nodes = engine.kind().nodes(&text)?;
        Ok(Self { text, nodes })
    }

    /// In place of what cannot be read.
    pub(super) fn none() -> Self {
        Self {
            text: String::new(),
            nodes: Vec::new(),
        }
    }
}

/// What can be told of an instance's state without a secret: of a snapshot,
/// and of what runs now.
#[derive(Clone, Debug)]
pub(super) struct Content {
    pub(super) engine: Engine,
    pub(super) engine_version: String,
    pub(super) flows: Flows,
    pub(super) modules: Vec<Installed>,
    /// Secret ones without a value.
    pub(super) env: Vec<EnvVar>,
    pub(super) digests: Digests,
}

/// By node, a keyed hash of its credentials.
pub(super) type Digests = BTreeMap<String, String>;

impl Content {
    /// Equal for equal content; `key` is the installation's.
    pub(super) fn digest(&self, key: &Secret) -> [u8; 32] {
        let parts = [
            self.engine.as_str().to_owned(),
            self.engine_version.clone(),
            serde_json::to_string(&self.modules).unwrap_or_default(),
            serde_json::to_string(&self.env).unwrap_or_default(),
            serde_json::to_string(&self.digests).unwrap_or_default(),
            self.flows.text.clone(),
        ];
        let hashes: Vec<u8> = parts.iter().flat_map(|it| sha256(it)).collect();
        keyed_hash(key, &hashes)
    }

    /// How many nodes of the flows have credentials.
    pub(super) fn credential_count(&self) -> usize {
        let ids = self.flows.nodes.iter().filter_map(|it| it["id"].as_str());
        ids.filter(|id| self.digests.contains_key(*id)).count()
    }
}

pub(super) fn digests(key: &Secret, credentials: &Credentials) -> Digests {
    let digest = |(id, value): (&String, &Value)| {
        let text = format!("{id}\0{}", canonical(value));
        let hash = keyed_hash(key, text.as_bytes());
        let hex = hash[..16].iter().map(|byte| format!("{byte:02x}"));
        (id.clone(), hex.collect())
    };
    credentials.iter().map(digest).collect()
}

/// With the fields in order: an engine may write them in any.
fn canonical(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let sorted: BTreeMap<_, _> = map.iter().map(|(k, v)| (k, canonical(v))).collect();
            format!("{sorted:?}")
        }
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(canonical).collect();
            format!("{items:?}")
        }
        other => other.to_string(),
    }
}

/// What a person says of a snapshot.
#[derive(Clone, Debug)]
pub(super) struct Label {
    pub(super) name: String,
    pub(super) description: String,
}

impl Label {
    /// `fallback` is the name when none, or an empty one, is given.
    pub(super) fn parse(
        name: Option<&str>,
        description: Option<&str>,
        fallback: &str,
    ) -> Result<Self, Error> {
        let name = name.map(str::trim).filter(|it| !it.is_empty());
        Ok(Self {
            name: parse_name(name.unwrap_or(fallback))?,
            description: parse_description(description.unwrap_or_default())?,
        })
    }

    /// A name of our own making, cut to fit.
    pub(super) fn ours(name: &str) -> Self {
        let plain = name.chars().filter(|it| !it.is_control());
        Self {
            name: plain.take(NAME_CHARS_MAX).collect(),
            description: String::new(),
        }
    }
}

pub(super) fn parse_name(name: &str) -> Result<String, Error> {
    let name = name.trim();
    let fits = !name.is_empty()
        && name.chars().count() <= NAME_CHARS_MAX
        && !name.chars().any(char::is_control);
    fits.then(|| name.to_owned()).ok_or(Error::BadName)
}

pub(super) fn parse_description(text: &str) -> Result<String, Error> {
    let is_odd = |c: char| c.is_control() && c != '\n' && c != '\t' && c != '\r';
    let fits = text.chars().count() <= DESCRIPTION_CHARS_MAX && !text.chars().any(is_odd);
    fits.then(|| text.trim_end().to_owned())
        .ok_or(Error::BadDescription)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_digest_tells_a_change_and_not_the_order_of_fields() {
        let key = Secret::new("k");
        let of = |it: Value| digests(&key, it.as_object().unwrap());
        let a = of(json!({"n": {"user": "ada", "pass": "x"}}));
        assert_eq!(a, of(json!({"n": {"pass": "x", "user": "ada"}})));
        assert_ne!(a, of(json!({"n": {"pass": "y", "user": "ada"}})));
        // The same secret of two nodes does not show as the same.
        let two = of(json!({"n": {"p": "x"}, "m": {"p": "x"}}));
        assert_ne!(two["n"], two["m"]);
    }

    #[test]
    fn names_and_descriptions() {
        for (name, good) in [("a", true), ("  ", false), ("a\nb", false)] {
            assert_eq!(parse_name(name).is_ok(), good, "{name:?}");
        }
        assert!(parse_name(&"é".repeat(100)).is_ok());
        assert!(parse_name(&"é".repeat(101)).is_err());
        assert!(parse_description("one\ntwo").is_ok());
        assert!(parse_description("\u{0}").is_err());
        assert!(parse_description(&"é".repeat(2001)).is_err());
        assert_eq!(
            Label::parse(Some(" "), None, "Snapshot").unwrap().name,
            "Snapshot"
        );
        assert_eq!(Label::ours(&"x".repeat(300)).name.len(), 100);
    }
}
