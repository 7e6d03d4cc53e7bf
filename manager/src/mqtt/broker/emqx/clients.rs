//! Who is connected to EMQX, and how connections are ended.
use std::{collections::HashSet, sync::Arc, time::Duration};

use chrono::{DateTime, FixedOffset, Utc};
use serde::Deserialize;
use serde_json::json;
use tokio::{sync::Mutex, time::Instant};
use url::form_urlencoded;

use super::{EmqxApi, mountpoint};
use crate::mqtt::{BrokerError, CONNECTIONS_MAX, Connection, Protocol, console_project};

/// Rows of a page.
const PAGE: usize = 500;
/// EMQX holds no more of our clients than this; who comes later is not seen.
const PAGES_MAX: usize = 200;
/// User names in one request, which are in its URL.
const NAMES_AT_ONCE: usize = 40;
/// Client ids in one request.
const KICKS_AT_ONCE: usize = 500;
/// A kicked client comes back at once while its credential is still good, and
/// a CONNECT may be under way.
const ROUNDS_MAX: usize = 5;
const PAUSE: Duration = Duration::from_millis(200);
/// How old a list of all clients may be that people look at.
const FRESH: Duration = Duration::from_secs(2);
/// Fields that every version has.
const FIELDS: &str = "clientid,username,mountpoint,ip_address,proto_ver,connected,connected_at";

#[derive(Debug, Deserialize)]
struct Page {
    data: Vec<Row>,
    #[serde(default)]
    meta: Meta,
}

#[derive(Debug, Default, Deserialize)]
struct Meta {
    #[serde(default)]
    hasnext: bool,
}

/// A session, with or without a connection.
#[derive(Debug, Deserialize)]
struct Row {
    clientid: String,
    username: Option<String>,
    mountpoint: Option<String>,
    ip_address: Option<String>,
    proto_ver: Option<u8>,
    #[serde(default)]
    connected: bool,
    connected_at: Option<DateTime<FixedOffset>>,
}

/// The list of all clients as it last was, for those who look: EMQX cannot be
/// asked for a mountpoint, so each look costs a walk through all.
#[derive(Default)]
pub(super) struct Clients {
    seen: Mutex<Option<(Instant, Arc<Vec<Row>>)>>,
}

impl Clients {
    /// The live connections of a project, the first [`CONNECTIONS_MAX`] by
    /// name. Our own are not among them.
    pub(super) async fn connections(
        &self,
        api: &EmqxApi,
        project: uuid::Uuid,
    ) -> Result<Vec<Connection>, BrokerError> {
        let all = self.all(api).await?;
        let mountpoint = mountpoint(project);
        let mut found: Vec<Connection> = all
            .iter()
            .filter(|it| it.connected && it.mountpoint.as_deref() == Some(&*mountpoint))
            .filter_map(Row::connection)
            .collect();
        found.sort_by(|a, b| (&a.username, &a.client_id).cmp(&(&b.username, &b.client_id)));
        found.truncate(CONNECTIONS_MAX);
        Ok(found)
    }

    async fn all(&self, api: &EmqxApi) -> Result<Arc<Vec<Row>>, BrokerError> {
        // Held while it is asked, so that many who look ask once.
        let mut seen = self.seen.lock().await;
        match &*seen {
            Some((at, rows)) if at.elapsed() < FRESH => Ok(rows.clone()),
            _ => {
                let rows = Arc::new(list(api, "").await?);
                *seen = Some((Instant::now(), rows.clone()));
                Ok(rows)
            }
        }
    }
}

impl Row {
    fn connection(&self) -> Option<Connection> {
        let username = self.username.clone()?;
        if console_project(&username).is_some() {
            return None;
        }
        // What `clientid_override` put before it.
        let own = self.clientid.strip_prefix(&username);
        let client_id = own.and_then(|it| it.strip_prefix(':'));
        Some(Connection {
            client_id: client_id.unwrap_or(&self.clientid).to_owned(),
            username,
            address: self.ip_address.as_ref().and_then(|it| it.parse().ok()),
            protocol: match self.proto_ver {
                Some(3) => Protocol::V3,
                Some(5) => Protocol::V5,
                _ => Protocol::V3_1_1,
            },
            connected_at: self
                .connected_at
                .map_or(DateTime::UNIX_EPOCH, |it| it.with_timezone(&Utc)),
        })
    }
}

/// Ends connections and sessions of these users and sees that they are gone.
pub(super) async fn kick(api: &EmqxApi, usernames: &[String]) -> Result<usize, BrokerError> {
    let mut ended = HashSet::new();
    for names in usernames.chunks(NAMES_AT_ONCE) {
        until_gone(api, &named(names), &mut ended, |it| {
            // Not only by what the query was understood as.
            it.username.as_ref().is_some_and(|it| names.contains(it))
        })
        .await?;
    }
    Ok(ended.len())
}

/// The query for any of these users.
fn named(usernames: &[String]) -> String {
    let pairs = usernames.iter().map(|it| ("username", it));
    form_urlencoded::Serializer::new(String::new())
        .extend_pairs(pairs)
        .finish()
}

/// The same for all that belongs to a project.
pub(super) async fn kick_project(api: &EmqxApi, project: uuid::Uuid) -> Result<(), BrokerError> {
    let mountpoint = mountpoint(project);
    let belongs = |it: &Row| it.mountpoint.as_deref() == Some(&*mountpoint);
    until_gone(api, "", &mut HashSet::new(), belongs).await
}

async fn until_gone(
    api: &EmqxApi,
    query: &str,
    ended: &mut HashSet<String>,
    concerns: impl Fn(&Row) -> bool,
) -> Result<(), BrokerError> {
    for round in 0..=ROUNDS_MAX {
        let mut rows = list(api, query).await?;
        rows.retain(&concerns);
        if rows.is_empty() {
            return Ok(());
        }
        if round == ROUNDS_MAX {
            break;
        }
        if 0 < round {
            tokio::time::sleep(PAUSE).await;
        }
        for rows in rows.chunks(KICKS_AT_ONCE) {
            let ids: Vec<&String> = rows.iter().map(|it| &it.clientid).collect();
            api.post("/clients/kickout/bulk", &json!(ids)).await?;
        }
        ended.extend(
            rows.into_iter()
                .filter(|it| it.connected)
                .map(|it| it.clientid),
        );
    }
    Err(BrokerError::Unavailable(
        "clients that were ended are still connected".to_owned(),
    ))
}

/// All sessions that the query finds.
async fn list(api: &EmqxApi, query: &str) -> Result<Vec<Row>, BrokerError> {
    let mut rows: Vec<Row> = Vec::new();
    for page in 1..=PAGES_MAX {
        let path = format!("/clients?page={page}&limit={PAGE}&fields={FIELDS}&{query}");
        let mut found: Page = api.get(path.trim_end_matches('&')).await?;
        // A page of nothing ends it as well, whatever it says of a next one.
        let more = found.meta.hasnext && !found.data.is_empty();
        rows.append(&mut found.data);
        if !more {
            return Ok(rows);
        }
    }
    tracing::warn!("EMQX has more clients than are looked at: {}", rows.len());
    Ok(rows)
}
