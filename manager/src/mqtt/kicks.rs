//! Ends the connections of those who lost their credentials.
//!
//! Each manager does so when its own answers have changed; so nobody comes back
//! by another manager that did not know yet.
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::{StreamExt as _, stream};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{
    BrokerError, BrokerKind, Credentials, EventSink, SharedBroker, Who,
    model::{Credential, Revocation},
    store,
};
use crate::jobs::Wake;

/// Of a broker that is away this long, the rest is forgotten.
const PENDING_MAX: usize = 100_000;
const AT_ONCE: usize = 8;
const TIMEOUT: Duration = Duration::from_secs(10);
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// Whose connections have to end. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Revoked {
    pending: Arc<Mutex<HashMap<String, Kick>>>,
    wake: Wake,
}

#[derive(Clone, Debug)]
struct Kick {
    project: Uuid,
    name: String,
    why: Revocation,
}

impl Revoked {
    pub(super) fn add<'a>(
        &self,
        revoked: impl Iterator<Item = (&'a String, &'a Credential, Revocation)>,
    ) {
        self.put(revoked.map(|(username, it, why)| {
            let kick = Kick {
                project: it.project,
                name: it.name.clone(),
                why,
            };
            (username.clone(), kick)
        }));
    }

    fn put(&self, kicks: impl Iterator<Item = (String, Kick)>) {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        let room = PENDING_MAX.saturating_sub(pending.len());
        for (username, kick) in kicks.take(room) {
            pending.entry(username).or_insert(kick);
        }
        if !pending.is_empty() {
            self.wake.now();
        }
    }

    fn take(&self) -> HashMap<String, Kick> {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *pending)
    }
}

/// Works down what is [`Revoked`].
pub(super) struct Kicker {
    pub(super) credentials: Credentials,
    pub(super) broker: SharedBroker,
    pub(super) events: EventSink,
}

impl Kicker {
    /// Until `stop`. A broker that does not answer is asked again and again.
    pub(super) async fn run(self, stop: CancellationToken) {
        tokio::select! {
            () = stop.cancelled() => {}
            () = async { tokio::join!(self.kick_strangers(), self.work()); } => {}
        }
    }

    async fn work(&self) {
        let revoked = self.credentials.revoked();
        let mut pause = PAUSE_MIN;
        // What did not work waits for its next try; what is new does not.
        let (mut failed, mut retry_at) = (Vec::new(), Instant::now());
        loop {
            tokio::select! {
                () = revoked.wake.notified() => {}
                () = tokio::time::sleep_until(retry_at), if !failed.is_empty() => {
                    revoked.put(failed.drain(..));
                }
            }
            let left: Vec<_> = stream::iter(revoked.take())
                .map(|(username, kick)| self.kick(username, kick))
                .buffer_unordered(AT_ONCE)
                .filter_map(std::future::ready)
                .collect()
                .await;
            failed.extend(left);
            if failed.is_empty() {
                pause = PAUSE_MIN;
            } else if retry_at <= Instant::now() {
                let n = failed.len();
                tracing::warn!("{n} MQTT users are not disconnected yet; next try in {pause:?}");
                retry_at = Instant::now() + pause;
                pause = PAUSE_MAX.min(pause * 2);
            }
        }
    }

    /// Gives it back when it has to be tried again.
    async fn kick(&self, username: String, kick: Kick) -> Option<(String, Kick)> {
        let asked = self.broker.kick(std::slice::from_ref(&username));
        let error = match tokio::time::timeout(TIMEOUT, asked).await {
            Ok(Ok(0)) => return None,
            Ok(Ok(_)) => {
                metrics::counter!("openflow_mqtt_kicks_total").increment(1);
                let who = Who {
                    project: kick.project,
                    username: &username,
                    client_id: "",
                    address: None,
                };
                self.events.kicked(who, kick.name, kick.why.explain());
                return None;
            }
            Ok(Err(error)) => error,
            Err(_) => BrokerError::Unavailable("no answer in time".to_owned()),
        };
        if let BrokerError::Unsupported(why) = &error {
            // Trying again would not help.
            tracing::warn!("MQTT user {username} stays connected: {why}");
            return None;
        }
        tracing::debug!(%error, "cannot disconnect MQTT user {username}: {error}");
        Some((username, kick))
    }

    /// EMQX kept its connections while no manager was there, and somebody's
    /// credentials may have gone in the moment before. The built-in broker
    /// begins with none.
    async fn kick_strangers(&self) {
        if self.broker.kind() != BrokerKind::Emqx {
            return;
        }
        self.credentials.loaded().await;
        let mut pause = PAUSE_MIN;
        while let Err(error) = self.find_strangers().await {
            if let Strange::Broker(BrokerError::Unsupported(_)) = error {
                return;
            }
            tracing::debug!(%error, "cannot look for strangers at the MQTT broker: {error}");
            tokio::time::sleep(pause).await;
            pause = PAUSE_MAX.min(pause * 2);
        }
    }

    async fn find_strangers(&self) -> Result<(), Strange> {
        let mut tx = self.credentials.db().begin_system().await?;
        let projects = store::projects(&mut tx).await?;
        drop(tx);
        for project in projects {
            let asked = self.broker.connections(project);
            let connections = tokio::time::timeout(TIMEOUT, asked)
                .await
                .map_err(|_| BrokerError::Unavailable("no answer in time".to_owned()))??;
            let known = self.credentials.known();
            let strangers = connections.into_iter().filter_map(|it| {
                let credential = known.get(&it.username);
                let why = match credential {
                    None => Revocation::Removed,
                    Some(it) if !it.enabled => Revocation::Disabled,
                    Some(_) => return None,
                };
                let name = credential.map_or_else(|| it.username.clone(), |it| it.name.clone());
                Some((it.username, Kick { project, name, why }))
            });
            self.credentials.revoked().put(strangers);
        }
        Ok(())
    }
}

#[derive(Debug, thiserror::Error)]
enum Strange {
    #[error(transparent)]
    Broker(#[from] BrokerError),
    #[error("database: {0}")]
    Db(#[from] sqlx::Error),
}
