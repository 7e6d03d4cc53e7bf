use std::{
    collections::HashSet,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use chrono::{DateTime, Utc};
use tokio::sync::mpsc;
use uuid::Uuid;

use super::{Event, EventKind, EventWriter, model};
use crate::{
    db::Db,
    kernel::{Clock, MqttEventId, ProjectId},
    mqtt::{
        model::{Known, Owner},
        throttle::Buckets,
    },
};

/// What waits to be written.
const BACKLOG: usize = 4096;
/// Of each kind (of each reason, if denied) and user name, a minute.
const DENIED_MAX: u32 = 6;
const OTHERS_MAX: u32 = 60;
/// User names that share one are limited together.
const CELLS: usize = 1 << 12;
/// That a client was there is told once in it.
const SEEN_PERIOD: Duration = Duration::from_secs(60);

/// Whom an event is about.
#[derive(Clone, Copy, Debug)]
pub struct Who<'a> {
    pub project: Uuid,
    pub username: &'a str,
    /// As the client chose it.
    pub client_id: &'a str,
    pub address: Option<IpAddr>,
}

/// What the writer gets.
#[derive(Clone, Debug)]
pub(super) enum Entry {
    Event(Event),
    /// A client was there.
    Seen {
        client: Uuid,
        at: DateTime<Utc>,
    },
}

/// Takes events from brokers and hook. Cheap to clone; never waits, never
/// fails: what is too much is left out and counted.
#[derive(Clone)]
pub struct EventSink(Arc<Shared>);

struct Shared {
    sender: mpsc::Sender<Entry>,
    clock: Arc<dyn Clock>,
    began: Instant,
    /// For the names.
    known: Arc<ArcSwap<Known>>,
    denied: Buckets,
    others: Buckets,
    seen: Mutex<Lately>,
}

/// The clients that were told of since a moment. No more than there are: a
/// stranger is none. Cells that some share would hide one behind another.
#[derive(Default)]
struct Lately {
    since: Duration,
    clients: HashSet<Uuid>,
}

impl Lately {
    /// Whether it is to be told.
    fn is_new(&mut self, client: Uuid, now: Duration) -> bool {
        if SEEN_PERIOD < now.saturating_sub(self.since) {
            self.since = now;
            self.clients.clear();
        }
        self.clients.insert(client)
    }
}

impl EventSink {
    pub(in crate::mqtt) fn new(
        db: Db,
        clock: Arc<dyn Clock>,
        known: Arc<ArcSwap<Known>>,
    ) -> (Self, EventWriter) {
        let (sender, receiver) = mpsc::channel(BACKLOG);
        let shared = Shared {
            sender,
            clock,
            began: Instant::now(),
            known,
            denied: Buckets::per_minute(DENIED_MAX, CELLS),
            others: Buckets::per_minute(OTHERS_MAX, CELLS),
            seen: Mutex::default(),
        };
        (Self(Arc::new(shared)), EventWriter::new(db, receiver))
    }

    /// A client was let in.
    pub fn connected(&self, who: Who<'_>) {
        let now = self.0.began.elapsed();
        if let Some(Owner::Client(client)) = self.owner(who.username)
            && self.lately().is_new(client, now)
        {
            let at = self.0.clock.now();
            self.send(Entry::Seen { client, at });
        }
        self.other(EventKind::Connected, who, None);
    }

    /// `reason` in plain words, when it was not the client's own wish.
    pub fn disconnected(&self, who: Who<'_>, reason: Option<&str>) {
        self.other(EventKind::Disconnected, who, reason);
    }

    /// Messages for the client were dropped: how many and why, in plain words.
    pub fn dropped(&self, who: Who<'_>, reason: &str) {
        self.other(EventKind::Dropped, who, Some(reason));
    }

    /// A client with a known user name was not let in.
    pub(in crate::mqtt) fn denied(&self, who: Who<'_>, reason: &'static str) {
        let now = self.0.began.elapsed();
        if self.0.denied.take((who.username, reason), now) {
            self.record(
                EventKind::Denied,
                who,
                self.name(who.username),
                Some(reason),
            );
        } else {
            lost("limited");
        }
    }

    /// We ended the connections of a user name that may be unknown by now.
    pub(in crate::mqtt) fn kicked(&self, who: Who<'_>, name: String, reason: &'static str) {
        self.record(EventKind::Kicked, who, Some(name), Some(reason));
    }

    fn other(&self, kind: EventKind, who: Who<'_>, reason: Option<&str>) {
        let now = self.0.began.elapsed();
        if self.0.others.take((who.username, kind), now) {
            self.record(kind, who, self.name(who.username), reason);
        } else {
            lost("limited");
        }
    }

    fn record(&self, kind: EventKind, who: Who<'_>, name: Option<String>, reason: Option<&str>) {
        self.send(Entry::Event(Event {
            id: MqttEventId::new(),
            project: ProjectId(who.project),
            at: self.0.clock.now(),
            kind,
            username: model::kept(who.username),
            name,
            client_id: model::kept(who.client_id),
            address: who.address.map(|it| it.to_canonical().to_string()),
            reason: reason.map(model::kept),
        }));
    }

    fn send(&self, entry: Entry) {
        if self.0.sender.try_send(entry).is_err() {
            lost("overflow");
        }
    }

    fn lately(&self) -> MutexGuard<'_, Lately> {
        self.0.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn owner(&self, username: &str) -> Option<Owner> {
        Some(self.0.known.load().get(username)?.owner)
    }

    fn name(&self, username: &str) -> Option<String> {
        Some(self.0.known.load().get(username)?.name.clone())
    }
}

/// Counts an event that nobody will see.
pub(super) fn lost(reason: &'static str) {
    metrics::counter!("openflow_mqtt_events_lost_total", "reason" => reason).increment(1);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_client_is_told_of_once_a_minute_however_many_there_are() {
        let mut lately = Lately::default();
        let clients: Vec<Uuid> = (0..10_000).map(Uuid::from_u128).collect();
        for (seconds, told) in [(5, 10_000), (30, 0), (61, 10_000), (100, 0)] {
            let now = Duration::from_secs(seconds);
            let new = clients.iter().filter(|it| lately.is_new(**it, now));
            assert_eq!(new.count(), told, "after {seconds} s");
        }
    }
}
