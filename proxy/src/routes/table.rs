//! The route table, compiled for look-ups on the request path. Pure.
use std::{
    collections::{HashMap, hash_map::Entry},
    net::SocketAddr,
    sync::Arc,
};

use openflow_route_api::{
    Access, Engine, Key, Role, Route, RouteState, RouteTable, TABLE_VERSION, WebhookAccess,
};
use uuid::Uuid;

/// Why a table is not taken; the previous one stays in use.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum TableError {
    #[error("the table has version {0}; this proxy reads version {TABLE_VERSION}")]
    Version(u32),
    #[error("the table's domain is empty")]
    Domain,
}

/// What is wrong with one route. It must not take the others down: the route is
/// served as far as is safe, and the complaint is logged.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum RouteProblem {
    #[error("host {0} is given twice; the first route has it")]
    RepeatedHost(String),
    #[error(
        "instance {0}: webhookSecretHash must be 64 hex digits, and basic needs webhookUsername; \
         its webhooks are closed"
    )]
    WebhookSecret(Uuid),
}

/// Where a host leads.
pub(crate) enum Destination<'a> {
    Dashboard(SocketAddr),
    Instance(&'a Arc<CompiledRoute>),
    Unknown,
}

/// An immutable snapshot; replaced as a whole.
pub(crate) struct Table {
    pub(crate) revision: Option<String>,
    domain: String,
    dashboard: Option<SocketAddr>,
    pub(crate) dashboard_url: Option<String>,
    hosts: HashMap<String, Arc<CompiledRoute>>,
    instances: HashMap<Uuid, Arc<CompiledRoute>>,
    pub(crate) access: Access,
    pub(crate) problems: Vec<RouteProblem>,
}

/// One instance's route, ready to be acted upon.
pub(crate) struct CompiledRoute {
    pub(crate) instance_id: Uuid,
    pub(crate) project_id: Option<Uuid>,
    pub(crate) engine: Engine,
    pub(crate) state: RouteState,
    pub(crate) upstream: Option<SocketAddr>,
    pub(crate) detail: Option<String>,
    pub(crate) webhook: WebhookPolicy,
    pub(crate) identity_key: Option<Key>,
}

/// What a caller of a webhook path must show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum WebhookPolicy {
    Open,
    Basic {
        username: String,
        password_hash: [u8; 32],
    },
    Bearer {
        key_hash: [u8; 32],
    },
    /// The table does not say properly what to ask for: nobody passes.
    Closed,
}

/// An editor session of a signed-in person, with the role of this moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Session {
    pub(crate) session_id: Uuid,
    pub(crate) user_id: Uuid,
    pub(crate) role: Role,
    /// Unix seconds.
    pub(crate) expires_at: i64,
}

impl Table {
    pub(crate) fn compile(table: RouteTable) -> Result<Self, TableError> {
        if table.version != TABLE_VERSION {
            return Err(TableError::Version(table.version));
        }
        if table.domain.is_empty() {
            return Err(TableError::Domain);
        }
        let mut problems = Vec::new();
        let mut hosts = HashMap::with_capacity(table.routes.len() * 2);
        let mut instances = HashMap::with_capacity(table.routes.len());
        for mut route in table.routes {
            let names = std::mem::take(&mut route.hosts);
            let compiled = Arc::new(CompiledRoute::compile(route));
            if compiled.webhook == WebhookPolicy::Closed {
                problems.push(RouteProblem::WebhookSecret(compiled.instance_id));
            }
            instances.insert(compiled.instance_id, Arc::clone(&compiled));
            for name in names {
                match hosts.entry(normal_name(&name)) {
                    Entry::Vacant(host) => {
                        host.insert(Arc::clone(&compiled));
                    }
                    Entry::Occupied(host) => {
                        problems.push(RouteProblem::RepeatedHost(host.key().clone()));
                    }
                }
            }
        }
        Ok(Self {
            revision: table.revision,
            domain: normal_name(&table.domain),
            dashboard: table.dashboard,
            dashboard_url: table
                .dashboard_url
                .map(|url| url.trim_end_matches('/').to_owned()),
            hosts,
            instances,
            access: table.access.unwrap_or_default(),
            problems,
        })
    }

    /// `host` in normal form: lower-case, no port, no trailing dot.
    pub(crate) fn find(&self, host: &str) -> Destination<'_> {
        match (self.hosts.get(host), self.dashboard) {
            (Some(route), _) => Destination::Instance(route),
            (None, Some(dashboard)) if host == self.domain => Destination::Dashboard(dashboard),
            _ => Destination::Unknown,
        }
    }

    /// The role that `session`'s owner has now, unless the session has ended.
    pub(crate) fn role(&self, project: Option<Uuid>, session: Uuid, user: Uuid) -> Option<Role> {
        if self.access.revoked_sessions.contains(&session) {
            return None;
        }
        self.access.role(project?, user)
    }

    /// Whether a stream that was opened through `route` may go on: the instance
    /// has not moved or gone, and the person's role is what it was.
    pub(crate) fn still_grants(&self, route: &CompiledRoute, session: Option<&Session>) -> bool {
        let Some(now) = self.instances.get(&route.instance_id) else {
            return false;
        };
        let moved = now.upstream.is_some() && now.upstream != route.upstream;
        let signed_in = session.is_none_or(|session| {
            let role = self.role(now.project_id, session.session_id, session.user_id);
            role == Some(session.role)
        });
        !moved && signed_in
    }

    pub(crate) fn len(&self) -> usize {
        self.instances.len()
    }
}

impl CompiledRoute {
    fn compile(route: Route) -> Self {
        Self {
            webhook: WebhookPolicy::compile(&route).unwrap_or(WebhookPolicy::Closed),
            instance_id: route.instance_id,
            project_id: route.project_id,
            engine: route.engine,
            state: route.state,
            upstream: route.upstream,
            detail: route.detail,
            identity_key: route.identity_key,
        }
    }

    /// The upstream, when the state lets requests through.
    pub(crate) fn served_by(&self) -> Option<SocketAddr> {
        self.upstream.filter(|_| self.state.is_served())
    }
}

impl WebhookPolicy {
    pub(crate) fn is_open(&self) -> bool {
        *self == Self::Open
    }

    fn compile(route: &Route) -> Option<Self> {
        let hash = || unhex(route.webhook_secret_hash.as_deref()?);
        match route.webhook_access {
            WebhookAccess::Open => Some(Self::Open),
            WebhookAccess::Basic => Some(Self::Basic {
                username: route.webhook_username.clone()?,
                password_hash: hash()?,
            }),
            WebhookAccess::Bearer => Some(Self::Bearer { key_hash: hash()? }),
        }
    }
}

fn normal_name(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
        let digits = std::str::from_utf8(digits).ok()?;
        *byte = u8::from_str_radix(digits, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const INSTANCE: &str = "0198f0a0-0000-7000-8000-000000000003";
    const PROJECT: &str = "0198f0a0-0000-7000-8000-000000000004";
    const USER: &str = "0198f0a0-0000-7000-8000-000000000002";
    const SESSION: &str = "0198f0a0-0000-7000-8000-000000000001";

    fn compile(change: impl FnOnce(&mut serde_json::Value)) -> Result<Table, TableError> {
        let mut table = json!({
            "version": 1, "domain": "Example.com", "dashboard": "127.0.0.1:4071",
            "routes": [{
                "hosts": ["wf1.example.com", "Shop.example.com."], "instanceId": INSTANCE, "projectId": PROJECT,
                "engine": "node-red", "upstream": "127.0.0.1:1880", "state": "running", "webhookAccess": "open",
            }],
            "access": {"cookieKeys": [], "members": {PROJECT: {USER: "member"}}},
        });
        change(&mut table);
        Table::compile(serde_json::from_value(table).unwrap())
    }

    fn session() -> Session {
        Session {
            session_id: SESSION.parse().unwrap(),
            user_id: USER.parse().unwrap(),
            role: Role::Member,
            expires_at: i64::MAX,
        }
    }

    #[test]
    fn hosts_lead_to_instances_and_the_domain_to_the_dashboard() {
        let table = compile(|_| ()).unwrap();
        for host in ["wf1.example.com", "shop.example.com"] {
            assert!(
                matches!(table.find(host), Destination::Instance(_)),
                "{host}"
            );
        }
        assert!(matches!(
            table.find("example.com"),
            Destination::Dashboard(_)
        ));
        assert!(matches!(
            table.find("other.example.com"),
            Destination::Unknown
        ));
        let alone = compile(|table| table["dashboard"] = json!(null)).unwrap();
        assert!(matches!(alone.find("example.com"), Destination::Unknown));
    }

    #[test]
    fn tables_that_make_no_sense_are_refused() {
        let refused = |change: fn(&mut serde_json::Value)| compile(change).err();
        assert_eq!(
            refused(|table| table["version"] = json!(2)),
            Some(TableError::Version(2))
        );
        assert_eq!(
            refused(|table| table["domain"] = json!("")),
            Some(TableError::Domain)
        );
    }

    #[test]
    fn a_bad_route_closes_itself_only() {
        let twice = compile(|table| table["routes"][0]["hosts"] = json!(["a.b", "A.b"])).unwrap();
        assert_eq!(
            twice.problems,
            [RouteProblem::RepeatedHost("a.b".to_owned())]
        );
        let weak = compile(|table| table["routes"][0]["webhookAccess"] = json!("bearer")).unwrap();
        let Destination::Instance(route) = weak.find("wf1.example.com") else {
            panic!("no route");
        };
        assert_eq!(route.webhook, WebhookPolicy::Closed);
        assert_eq!(
            weak.problems,
            [RouteProblem::WebhookSecret(route.instance_id)]
        );
    }

    #[test]
    fn a_right_ends_with_its_member_session_role_or_upstream() {
        let before = compile(|_| ()).unwrap();
        let Destination::Instance(route) = before.find("wf1.example.com") else {
            panic!("no route");
        };
        let still = |change: fn(&mut serde_json::Value)| {
            compile(change)
                .unwrap()
                .still_grants(route, Some(&session()))
        };
        assert!(still(|_| ()));
        assert!(still(
            |table| table["routes"][0]["state"] = json!("stopping")
        ));
        assert!(!still(|table| table["access"]["members"] = json!({})));
        assert!(!still(
            |table| table["access"]["members"][PROJECT][USER] = json!("viewer")
        ));
        assert!(!still(
            |table| table["access"]["revokedSessions"] = json!([SESSION])
        ));
        assert!(!still(
            |table| table["routes"][0]["upstream"] = json!("127.0.0.1:1881")
        ));
        assert!(!still(|table| table["routes"] = json!([])));
    }
}
