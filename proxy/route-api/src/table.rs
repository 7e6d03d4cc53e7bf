use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::Key;

/// The shape's version; a reader refuses any other.
pub const TABLE_VERSION: u32 = 1;

/// All that the proxy needs to answer every request without asking anybody.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RouteTable {
    pub version: u32,
    /// A hash of the rest; absent in a fixed table.
    #[serde(default)]
    pub revision: Option<String>,
    /// The base domain, lower-case, without port: `example.com`.
    pub domain: String,
    /// Where the manager answers for the base domain; `null` when there is none.
    #[serde(default)]
    pub dashboard: Option<SocketAddr>,
    /// The dashboard's address as browsers see it, without a trailing slash.
    #[serde(default)]
    pub dashboard_url: Option<String>,
    #[serde(default)]
    pub routes: Vec<Route>,
    /// Absent in a fixed table: then nobody is signed in by the proxy.
    #[serde(default)]
    pub access: Option<Access>,
}

/// One instance and the hosts that lead to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Route {
    /// Full host names, lower-case, without port; the first is the subdomain's, then the aliases'.
    pub hosts: Vec<String>,
    pub instance_id: Uuid,
    #[serde(default)]
    pub project_id: Option<Uuid>,
    pub engine: Engine,
    /// `null` while there is no container to reach.
    #[serde(default)]
    pub upstream: Option<SocketAddr>,
    pub state: RouteState,
    /// Why it is not running, in one line for a person; never a secret.
    #[serde(default)]
    pub detail: Option<String>,
    #[serde(default)]
    pub webhook_access: WebhookAccess,
    #[serde(default)]
    pub webhook_username: Option<String>,
    /// Lower-case hex SHA-256 of the password (`basic`) or key (`bearer`).
    #[serde(default)]
    pub webhook_secret_hash: Option<String>,
    /// Signs identity credentials for this instance. Absent: the proxy does
    /// not sign in, the instance's shim does.
    #[serde(default)]
    pub identity_key: Option<Key>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Engine {
    NodeRed,
    N8n,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RouteState {
    Starting,
    Running,
    Unhealthy,
    SafeMode,
    Stopping,
    Stopped,
    Crashed,
    Failed,
    Sleeping,
}

impl RouteState {
    /// Whether requests go to the upstream in this state.
    pub fn is_served(self) -> bool {
        matches!(self, Self::Running | Self::Unhealthy | Self::SafeMode)
    }
}

/// What a caller of a webhook path has to show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WebhookAccess {
    #[default]
    Open,
    Basic,
    Bearer,
}

/// A member's role in a project; a later one may all that an earlier one may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    Viewer,
    Member,
    Owner,
}

/// Who may use which project's editors, and the keys of the editor cookie.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Access {
    /// Newest first: the first signs, any verifies.
    pub cookie_keys: Vec<Key>,
    /// Administrators of the installation: owners of every project.
    #[serde(default)]
    pub admins: BTreeSet<Uuid>,
    /// Project → user → role.
    #[serde(default)]
    pub members: BTreeMap<Uuid, BTreeMap<Uuid, Role>>,
    /// Editor sessions that ended before their cookie does.
    #[serde(default)]
    pub revoked_sessions: BTreeSet<Uuid>,
}

impl Access {
    /// What `user` may in `project` now; `None` for a stranger.
    pub fn role(&self, project: Uuid, user: Uuid) -> Option<Role> {
        if self.admins.contains(&user) {
            return Some(Role::Owner);
        }
        self.members.get(&project)?.get(&user).copied()
    }
}
