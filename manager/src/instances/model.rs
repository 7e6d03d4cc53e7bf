use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::{Error, Hostname, restores::RestoreState};
use crate::{
    access::InstanceKeys,
    audit::Event,
    engines::{Engine, Module, Storage},
    kernel::{InstanceId, ProjectId, StackId},
    stacks::Env,
};

const NAME_CHARS_MAX: usize = 100;

/// Generates an enum that stands as text in the database and in JSON.
macro_rules! text_enum {
    ($(#[$meta:meta])* $name:ident { $($(#[$vmeta:meta])* $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
        #[serde(rename_all = "snake_case")] // the same as $text; tests compare
        pub enum $name { $($(#[$vmeta])* $variant),+ }

        impl $name {
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }

            pub(crate) fn parse(text: &str) -> Option<Self> {
                match text { $($text => Some(Self::$variant),)+ _ => None }
            }
        }
    };
}

pub(crate) use text_enum;

text_enum! {
    /// What a request asked for. The reconciler makes it so.
    Desired {
        Running = "running",
        Stopped = "stopped",
        /// Removed with its data; the row goes last.
        Absent = "absent",
    }
}

text_enum! {
    /// What is, as far as the reconciler saw.
    Status {
        Creating = "creating",
        Starting = "starting",
        Running = "running",
        Unhealthy = "unhealthy",
        Crashed = "crashed",
        SafeMode = "safe_mode",
        Sleeping = "sleeping",
        Stopping = "stopping",
        Stopped = "stopped",
        Failed = "failed",
        Deleting = "deleting",
    }
}

text_enum! {
    /// What a caller of a webhook path has to show.
    WebhookMode {
        Open = "open",
        /// User name and password.
        Basic = "basic",
        /// A key.
        Bearer = "bearer",
    }
}

/// How webhook paths are guarded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookAccess {
    pub mode: WebhookMode,
    /// With `basic`.
    pub username: Option<String>,
    /// Lower-case hex SHA-256 of the password or key.
    pub secret_hash: Option<String>,
}

#[derive(Clone, Debug)]
pub struct Instance {
    pub id: InstanceId,
    pub project: ProjectId,
    pub name: String,
    pub subdomain: Hostname,
    pub aliases: Vec<Hostname>,
    pub engine: Engine,
    pub stack: StackId,
    /// Its stack's.
    pub storage: Storage,
    pub desired: Desired,
    pub restart_wanted: i64,
    pub memory_mb: i32,
    pub cpus: f64,
    pub webhook_access: WebhookAccess,
    pub seen: Seen,
    /// How far the restore under way is.
    pub restore: Option<RestoreState>,
    /// It was made for data that are still being put beside.
    pub awaits_data: bool,
    /// A backup holds it still until then.
    pub frozen_until: Option<DateTime<Utc>>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

/// What the reconciler writes: what it saw and what it keeps in mind.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    pub status: Status,
    /// Why, in words for the person who looks at it.
    pub detail: Option<String>,
    /// What stays worth knowing although it runs; gone with the next start.
    pub notice: Option<String>,
    /// `address:port` of the running container.
    pub upstream: Option<String>,
    pub restart_done: i64,
    /// The container was made from settings that have changed since.
    pub restart_needed: bool,
    pub safe_mode: bool,
    /// Crashes that count towards safe mode.
    pub crash_count: i32,
    /// The container's own restart count up to which crashes are counted.
    pub crashes_seen: i32,
    pub last_crash_at: Option<DateTime<Utc>>,
    /// Failed tries in a row to make or start the container.
    pub attempts: i32,
    pub retry_at: Option<DateTime<Utc>>,
    /// When the template's modules were installed.
    pub seeded_at: Option<DateTime<Utc>>,
    /// The stack that was last healthy.
    pub good_stack: Option<StackId>,
    pub started_at: Option<DateTime<Utc>>,
}

impl Seen {
    pub(super) fn new() -> Self {
        Self {
            status: Status::Creating,
            detail: None,
            notice: None,
            upstream: None,
            restart_done: 0,
            restart_needed: false,
            safe_mode: false,
            crash_count: 0,
            crashes_seen: 0,
            last_crash_at: None,
            attempts: 0,
            retry_at: None,
            seeded_at: None,
            good_stack: None,
            started_at: None,
        }
    }

    /// Notes a failed try and when to try again: 2 s, 4 s, … at most 5 min.
    pub(super) fn failed(&mut self, detail: String, now: DateTime<Utc>) {
        self.attempts = self.attempts.saturating_add(1);
        let seconds = 2_i64.pow(self.attempts.clamp(1, 9) as u32).min(300);
        self.status = Status::Failed;
        self.detail = Some(detail);
        self.upstream = None;
        self.retry_at = Some(now + TimeDelta::seconds(seconds));
    }

    /// As after a start that somebody asked for: old troubles are forgotten.
    pub(super) fn forgive(&mut self) {
        self.notice = None;
        self.safe_mode = false;
        self.crash_count = 0;
        self.attempts = 0;
        self.retry_at = None;
    }
}

/// What only the reconciler and the shim need of an instance.
#[derive(Clone, Debug)]
pub(super) struct Inside {
    pub(super) keys: InstanceKeys,
    pub(super) env: Env,
    pub(super) modules: Vec<Module>,
    pub(super) flows: Option<Value>,
}

/// A new instance as asked for, checked.
#[derive(Clone, Debug)]
pub struct NewInstance {
    pub name: String,
    pub subdomain: Hostname,
}

impl NewInstance {
    pub fn parse(name: &str, subdomain: &str) -> Result<Self, Error> {
        Ok(Self {
            name: parse_name(name)?,
            subdomain: Hostname::parse(subdomain, "subdomain")?,
        })
    }
}

pub(super) fn parse_name(name: &str) -> Result<String, Error> {
    let name = name.trim();
    if name.is_empty()
        || NAME_CHARS_MAX < name.chars().count()
        || name.chars().any(char::is_control)
    {
        return Err(Error::BadName);
    }
    Ok(name.to_owned())
}

impl Instance {
    /// The broker's user name: the instance's id, which holds no `:`.
    pub fn mqtt_username(&self) -> String {
        self.id.to_string()
    }

    /// Whether a restore needs it stopped, whatever was asked for.
    pub(super) fn is_held_down(&self) -> bool {
        matches!(
            self.restore,
            Some(RestoreState::Stopping | RestoreState::Undoing)
        )
    }

    /// The status that people see: what was asked for a moment ago shows
    /// before the reconciler has begun.
    pub fn status(&self) -> Status {
        let seen = self.seen.status;
        match self.desired {
            Desired::Absent => Status::Deleting,
            Desired::Stopped if seen != Status::Stopped => Status::Stopping,
            Desired::Running if seen == Status::Creating => Status::Creating,
            Desired::Running if self.is_held_down() => Status::Stopping,
            Desired::Running if self.restore == Some(RestoreState::Starting) => Status::Starting,
            Desired::Running if self.seen.restart_done < self.restart_wanted => Status::Starting,
            Desired::Running | Desired::Stopped => seen,
        }
    }

    /// A line of the audit log about it.
    pub(super) fn event(&self, action: &'static str, detail: Value) -> Event {
        Event::new(action, Some(self.project), "instance", self.id, &self.name).with(detail)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_the_same_in_the_database_and_in_json() {
        for status in [Status::Creating, Status::SafeMode, Status::Unhealthy] {
            assert_eq!(serde_json::json!(status), status.as_str());
        }
        assert_eq!(serde_json::json!(Desired::Absent), Desired::Absent.as_str());
        assert_eq!(
            serde_json::json!(WebhookMode::Bearer),
            WebhookMode::Bearer.as_str()
        );
    }
}
