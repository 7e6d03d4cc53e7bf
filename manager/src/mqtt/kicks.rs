//! Ends the connections of those who lost their credentials.
//!
//! Each manager does so when its own answers have changed; so nobody comes back
//! by another manager that did not know yet. And it does so twice, a moment
//! apart: a CONNECT that was let in just before may not have been among the
//! broker's connections yet.
use std::{
    collections::{HashMap, VecDeque},
    mem::take,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::{StreamExt as _, stream};
use tokio::time::{Instant, sleep, sleep_until};
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
const SECOND_AFTER: Duration = Duration::from_secs(1);
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
    username: String,
    project: Uuid,
    name: String,
    why: Revocation,
    is_second: bool,
}

impl Revoked {
    pub(super) fn add<'a>(
        &self,
        revoked: impl Iterator<Item = (&'a String, &'a Credential, Revocation)>,
    ) {
        self.put(revoked.map(|(username, it, why)| Kick {
            username: username.clone(),
            project: it.project,
            name: it.name.clone(),
            why,
            is_second: false,
        }));
    }

    fn put(&self, kicks: impl Iterator<Item = Kick>) {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        let room = PENDING_MAX.saturating_sub(pending.len());
        for kick in kicks.take(room) {
            pending.insert(kick.username.clone(), kick);
        }
        if !pending.is_empty() {
            self.wake.now();
        }
    }

    fn take(&self) -> Vec<Kick> {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        take(&mut *pending).into_values().collect()
    }
}

/// Works down what is [`Revoked`].
pub(super) struct Kicker {
    pub(super) credentials: Credentials,
    pub(super) broker: SharedBroker,
    pub(super) events: EventSink,
}

/// What is to be done again.
#[derive(Default)]
struct Left {
    /// When it is time for the second kick.
    second: VecDeque<(Instant, Kick)>,
    failed: Vec<Kick>,
    retry_at: Option<Instant>,
    failures: u32,
}

impl Left {
    /// Until something is due.
    async fn due(&mut self) -> Vec<Kick> {
        let second_at = self.second.front().map(|it| it.0);
        let at = [second_at, self.retry_at].into_iter().flatten().min();
        match at {
            Some(at) => sleep_until(at).await,
            None => std::future::pending().await,
        }
        let now = Instant::now();
        if self.retry_at.is_some_and(|it| it <= now) {
            self.retry_at = None;
            return take(&mut self.failed);
        }
        let n = self.second.iter().take_while(|it| it.0 <= now).count();
        self.second.drain(..n).map(|it| it.1).collect()
    }

    fn note(&mut self, (kick, result): (Kick, Result<(), BrokerError>)) {
        match result {
            Ok(()) if kick.is_second => {}
            Ok(()) => {
                let is_second = true;
                let second = Kick { is_second, ..kick };
                let at = Instant::now() + SECOND_AFTER;
                self.second.push_back((at, second));
            }
            Err(BrokerError::Unsupported(why)) => {
                // Trying again would not help.
                let name = kick.username;
                tracing::warn!("MQTT user {name} stays connected: {why}");
            }
            Err(error) => {
                tracing::debug!(%error, "cannot disconnect MQTT user {}: {error}", kick.username);
                self.failed.push(kick);
            }
        }
    }

    /// Decides when the failed ones are due, if that is not decided yet.
    fn schedule(&mut self) {
        if self.failed.is_empty() {
            self.failures = 0;
        } else if self.retry_at.is_none() {
            let pause = PAUSE_MAX.min(PAUSE_MIN * 2_u32.pow(self.failures.min(8)));
            let n = self.failed.len();
            tracing::warn!("{n} MQTT users are not disconnected yet; next try in {pause:?}");
            self.retry_at = Some(Instant::now() + pause);
            self.failures += 1;
        }
    }
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
        let mut left = Left::default();
        loop {
            // What is new does not wait for what did not work.
            let batch = tokio::select! {
                () = revoked.wake.notified() => revoked.take(),
                due = left.due() => due,
            };
            let outcomes: Vec<_> = stream::iter(batch)
                .map(|kick| self.kick(kick))
                .buffer_unordered(AT_ONCE)
                .collect()
                .await;
            outcomes.into_iter().for_each(|it| left.note(it));
            left.schedule();
        }
    }

    async fn kick(&self, kick: Kick) -> (Kick, Result<(), BrokerError>) {
        let asked = self.broker.kick(std::slice::from_ref(&kick.username));
        let result = match tokio::time::timeout(TIMEOUT, asked).await {
            Ok(Ok(n)) => {
                if 0 < n {
                    self.kicked(&kick);
                }
                Ok(())
            }
            Ok(Err(error)) => Err(error),
            Err(_) => Err(BrokerError::Unavailable("no answer in time".to_owned())),
        };
        (kick, result)
    }

    fn kicked(&self, kick: &Kick) {
        metrics::counter!("openflow_mqtt_kicks_total").increment(1);
        let who = Who {
            project: kick.project,
            username: &kick.username,
            client_id: "",
            address: None,
        };
        self.events
            .kicked(who, kick.name.clone(), kick.why.explain());
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
            sleep(pause).await;
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
                Some(Kick {
                    username: it.username,
                    project,
                    name,
                    why,
                    is_second: false,
                })
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
