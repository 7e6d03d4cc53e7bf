use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use openflow_route_api::{
    Access, Engine, Key, Role, Route, RouteState, RouteTable, TABLE_VERSION, WebhookAccess,
    identity_key,
};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;

use super::store::{self, RouteRow};
use crate::{
    crypto::{KeyRing, sha256_hex},
    db::{Change, Changes, Db, Topic},
    kernel::{Clock, News},
};

/// Changes that come in a bunch make one table.
const GATHER: Duration = Duration::from_millis(3);
const AFTER_ERROR: Duration = Duration::from_millis(500);
/// How often the table is made without being told, should a notice be lost.
const PERIOD: Duration = Duration::from_secs(30);

/// What the feed says besides what is in the database.
#[derive(Clone)]
pub struct FeedSettings {
    /// The base domain, lower-case.
    pub domain: String,
    /// Where this manager answers.
    pub dashboard: SocketAddr,
    /// The dashboard as browsers see it, without a trailing slash.
    pub dashboard_url: String,
    pub cookie_keys: Vec<Key>,
}

/// One made table: its revision and its JSON.
#[derive(Clone)]
pub(super) struct Made {
    pub(super) revision: String,
    pub(super) json: Bytes,
}

/// Keeps the table current and hands it out.
#[derive(Clone)]
pub struct Feed {
    db: Db,
    clock: Arc<dyn Clock>,
    keys: Arc<KeyRing>,
    settings: FeedSettings,
    /// `None` until the first table was made.
    made: watch::Sender<Option<Made>>,
}

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("database: {0}")]
    Db(#[from] sqlx::Error),
    #[error("{0}")]
    Json(#[from] serde_json::Error),
}

impl Feed {
    pub fn new(db: Db, clock: Arc<dyn Clock>, keys: Arc<KeyRing>, settings: FeedSettings) -> Self {
        Self {
            db,
            clock,
            keys,
            settings,
            made: watch::Sender::new(None),
        }
    }

    /// Makes the table anew after each change, until `stop`.
    pub async fn run(self, changes: Changes, stop: CancellationToken) {
        let mut changes = changes.subscribe();
        let mut news = News::default();
        loop {
            let made = self.make().await;
            match &made {
                Ok(_) => _ = news.over(),
                Err(error) if !news.is(error) => {}
                Err(error) => tracing::warn!(%error, "cannot make the route table: {error}"),
            }
            let pause = if made.is_ok() { PERIOD } else { AFTER_ERROR };
            let until = Instant::now() + pause;
            loop {
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep_until(until) => break,
                    change = changes.next() => match change {
                        None => return,
                        Some(change) if concerns(change) => {
                            tokio::time::sleep(GATHER).await;
                            while changes.try_next().is_some() {}
                            break;
                        }
                        Some(_) => {}
                    }
                }
            }
        }
    }

    /// The table when it differs from `after`, else as soon as it does; `None`
    /// when it does not within `wait`.
    pub(super) async fn newer(&self, after: Option<&str>, wait: Duration) -> Option<Made> {
        let mut made = self.made.subscribe();
        let differs = |it: &Option<Made>| {
            it.as_ref()
                .is_some_and(|it| Some(it.revision.as_str()) != after)
        };
        let found = tokio::time::timeout(wait, made.wait_for(differs)).await;
        found.ok()?.ok()?.clone()
    }

    async fn make(&self) -> Result<(), Error> {
        let mut tx = self.db.begin_system().await?;
        let rows = store::routes(&mut tx).await?;
        let members = store::members(&mut tx).await?;
        let admins = store::admins(&mut tx).await?;
        let revoked_sessions = store::revoked(&mut tx, self.clock.now()).await?;
        drop(tx);
        let role = |text: String| serde_json::from_value::<Role>(Value::String(text));
        let mut roles = std::collections::BTreeMap::new();
        for (project, users) in members {
            let users: Result<_, _> = users
                .into_iter()
                .map(|(id, text)| Ok::<_, serde_json::Error>((id, role(text)?)))
                .collect();
            roles.insert(project, users?);
        }
        let mut table = RouteTable {
            version: TABLE_VERSION,
            revision: None,
            domain: self.settings.domain.clone(),
            dashboard: Some(self.settings.dashboard),
            dashboard_url: Some(self.settings.dashboard_url.clone()),
            routes: rows.into_iter().filter_map(|row| self.route(row)).collect(),
            access: Some(Access {
                cookie_keys: self.settings.cookie_keys.clone(),
                admins,
                members: roles,
                revoked_sessions,
            }),
        };
        let revision = sha256_hex(&serde_json::to_string(&table)?)[..32].to_owned();
        table.revision = Some(revision.clone());
        let json = Bytes::from(serde_json::to_vec(&table)?);
        self.made.send_if_modified(|made| {
            let news = made.as_ref().is_none_or(|it| it.revision != revision);
            if news {
                *made = Some(Made { revision, json });
            }
            news
        });
        Ok(())
    }

    /// One bad row must not take the others' routes away: it is left out.
    fn route(&self, row: RouteRow) -> Option<Route> {
        let id = row.id;
        let route = self.try_route(row);
        if let Err(error) = &route {
            tracing::error!("instance {id} has no route: {error}");
        }
        route.ok()
    }

    fn try_route(&self, row: RouteRow) -> anyhow::Result<Route> {
        let place = format!("instances/{}/magic_token", row.id);
        let magic = self.keys.open_text(&place, &row.magic_token_sealed)?;
        let state = state_of(&row)?;
        let host = |name: &String| format!("{name}.{}", self.settings.domain);
        Ok(Route {
            hosts: row.names.iter().map(host).collect(),
            instance_id: row.id,
            project_id: Some(row.project_id),
            engine: parse::<Engine>(&row.engine)?,
            upstream: row.upstream.as_deref().map(str::parse).transpose()?,
            state,
            detail: None,
            webhook_access: parse::<WebhookAccess>(&row.webhook_access)?,
            webhook_username: row.webhook_username,
            webhook_secret_hash: row.webhook_secret_hash,
            identity_key: Some(identity_key(&magic)),
        })
    }
}

fn state_of(row: &RouteRow) -> Result<RouteState, serde_json::Error> {
    if row.desired == "stopped" && row.status != "stopped" {
        return Ok(RouteState::Stopping);
    }
    if row.restarting || row.status == "creating" {
        return Ok(RouteState::Starting);
    }
    parse(&row.status)
}

fn parse<T: DeserializeOwned>(text: &str) -> Result<T, serde_json::Error> {
    serde_json::from_value(Value::String(text.to_owned()))
}

fn concerns(change: Change) -> bool {
    matches!(
        change,
        Change::All
            | Change::Row {
                topic: Topic::Instance | Topic::Access | Topic::Project,
                ..
            }
    )
}
