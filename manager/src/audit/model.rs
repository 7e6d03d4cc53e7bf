use chrono::{DateTime, Utc};
use serde_json::Value;
use uuid::Uuid;

use crate::kernel::{AuditId, ProjectId, UserId};

/// What a change acted on.
#[derive(Clone, Debug)]
pub struct Target {
    /// `instance`, `project`, `user`, …
    pub kind: &'static str,
    pub id: String,
    /// As a person knows it at that time.
    pub name: String,
}

/// A change to be recorded.
#[derive(Clone, Debug)]
pub struct Event {
    /// `slice.verb`, as in `instance.create`.
    pub action: &'static str,
    pub project: Option<ProjectId>,
    pub target: Target,
    /// What else a reader would ask for; never a secret.
    pub detail: Value,
}

impl Event {
    pub fn new(
        action: &'static str,
        project: Option<ProjectId>,
        kind: &'static str,
        id: impl ToString,
        name: impl Into<String>,
    ) -> Self {
        let target = Target {
            kind,
            id: id.to_string(),
            name: name.into(),
        };
        Self {
            action,
            project,
            target,
            detail: Value::Object(serde_json::Map::new()),
        }
    }

    pub fn with(mut self, detail: Value) -> Self {
        self.detail = detail;
        self
    }
}

/// A recorded change.
#[derive(Clone, Debug)]
pub struct Entry {
    pub id: AuditId,
    pub at: DateTime<Utc>,
    pub actor_kind: String,
    pub actor_id: Option<Uuid>,
    pub actor_name: String,
    pub action: String,
    pub project: Option<ProjectId>,
    pub target_type: String,
    pub target_id: String,
    pub target_name: String,
    pub detail: Value,
    pub address: Option<String>,
}

/// Which entries to list; newest first.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    pub project: Option<ProjectId>,
    pub actor: Option<UserId>,
    /// An action, or the part before its dot.
    pub action: Option<String>,
    pub before: Option<DateTime<Utc>>,
}
