use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::{ArcSwap, Guard};
use tokio::sync::{Mutex, watch};
use tokio_util::sync::CancellationToken;

use super::{
    ClientIds, ConnectAttempt, Denial, EventSink, Verdict, Who,
    kicks::Revoked,
    model::{self, Known, Owner},
    store,
    throttle::{Buckets, Failures},
};
use crate::{
    db::{Change, Changes, Db, Topic},
    kernel::News,
};

const AFTER_ERROR: Duration = Duration::from_millis(500);
const PERIOD: Duration = Duration::from_secs(30);
/// Lines about denials of one sort, or one user name, a minute.
const LOG_MAX: u32 = 10;
const LOG_CELLS: usize = 1 << 12;

/// All credentials, in memory: a CONNECT is answered without asking anybody.
/// Cheap to clone.
#[derive(Clone)]
pub struct Credentials(Arc<Shared>);

struct Shared {
    db: Db,
    known: Arc<ArcSwap<Known>>,
    events: EventSink,
    failures: Failures,
    logged: Buckets,
    began: Instant,
    revoked: Revoked,
    /// One reading at a time: an older one must not win over a newer.
    reading: Mutex<()>,
    /// Whether they were read once.
    loaded: watch::Sender<bool>,
}

impl Credentials {
    pub(super) fn new(db: Db, known: Arc<ArcSwap<Known>>, events: EventSink) -> Self {
        Self(Arc::new(Shared {
            db,
            known,
            events,
            failures: Failures::new(),
            logged: Buckets::per_minute(LOG_MAX, LOG_CELLS),
            began: Instant::now(),
            revoked: Revoked::default(),
            reading: Mutex::default(),
            loaded: watch::Sender::new(false),
        }))
    }

    /// Whether a CONNECT is let in: decided in memory, at once. A denial is
    /// counted, logged and, for a known user name, put among the project's
    /// events; what a broker made of an allowed one is for it to report.
    pub fn authenticate(&self, attempt: &ConnectAttempt<'_>, ids: ClientIds) -> Verdict {
        let it = &*self.0;
        let (username, address, now) = (attempt.username, attempt.address, it.began.elapsed());
        let verdict = if !*it.loaded.borrow() {
            Verdict::Deny(Denial::NotReady)
        } else if !it.failures.admits(username, address, now) {
            Verdict::Deny(Denial::TooManyAttempts)
        } else {
            model::judge(&it.known.load(), attempt, ids)
        };
        match &verdict {
            Verdict::Allow { .. } => {
                it.failures.succeeded(username, address, now);
                count("allow");
            }
            Verdict::Deny(denial) => {
                if matches!(denial, Denial::UnknownUser | Denial::WrongPassword) {
                    it.failures.failed(username, address, now);
                }
                self.denied(attempt, ids, *denial);
            }
        }
        verdict
    }

    fn denied(&self, attempt: &ConnectAttempt<'_>, ids: ClientIds, denial: Denial) {
        count(denial.as_str());
        let it = &*self.0;
        let project = it.known.load().get(attempt.username).map(|it| it.project);
        if let Some(project) = project {
            let own = match ids {
                ClientIds::Prefixed => model::own_client_id(attempt),
                ClientIds::PerProject => None,
            };
            let who = Who {
                project,
                username: attempt.username,
                client_id: own.unwrap_or(attempt.client_id),
                address: attempt.address,
            };
            it.events.denied(who, denial.explain());
        }
        // Unknown names are anybody's to make up: they share their lines.
        let subject = project.map(|_| attempt.username);
        if it
            .logged
            .take((denial.as_str(), subject), it.began.elapsed())
        {
            let address = attempt.address.map(|it| it.to_string());
            tracing::info!(
                mqtt.reason = denial.as_str(),
                mqtt.username = subject.unwrap_or_default(),
                mqtt.address = address.as_deref().unwrap_or_default(),
                "an MQTT connect of {:?} from {} was denied: {}",
                attempt.username.chars().take(64).collect::<String>(),
                address.as_deref().unwrap_or("an unknown address"),
                denial.explain(),
            );
        }
    }

    /// Whose a user name is, in which project, and what it is called.
    pub(super) fn known(&self) -> Guard<Arc<Known>> {
        self.0.known.load()
    }

    pub(super) fn revoked(&self) -> &Revoked {
        &self.0.revoked
    }

    /// Until they were read once.
    pub async fn loaded(&self) {
        // Cannot fail: the sender is in `self`.
        let _ = self.0.loaded.subscribe().wait_for(|it| *it).await;
    }

    pub(super) fn db(&self) -> &Db {
        &self.0.db
    }

    /// Keeps them current until `stop`: within moments of a change, whichever
    /// manager made it.
    pub(super) async fn run(self, changes: Changes, stop: CancellationToken) {
        let mut changes = changes.subscribe();
        let mut news = News::default();
        loop {
            let loaded = self.load().await;
            match &loaded {
                Ok(()) => _ = news.over(),
                Err(error) if !news.is(error) => {}
                Err(error) => {
                    tracing::warn!(%error, "cannot load the broker's credentials: {error}");
                }
            }
            let pause = if loaded.is_ok() { PERIOD } else { AFTER_ERROR };
            let concerning = async {
                while let Some(change) = changes.next().await {
                    if concerns(change) {
                        return;
                    }
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
                () = concerning => while changes.try_next().is_some() {},
            }
        }
    }

    /// After a change by this manager: what it answers holds at its broker
    /// already. A failure is made up for by [`Credentials::run`].
    pub(super) async fn refresh(&self) {
        if let Err(error) = self.load().await {
            tracing::warn!(%error, "cannot load the broker's credentials: {error}");
        }
    }

    async fn load(&self) -> sqlx::Result<()> {
        let it = &*self.0;
        let _one = it.reading.lock().await;
        let mut tx = it.db.begin_system().await?;
        let mut rows = store::instances(&mut tx).await?;
        rows.extend(store::clients(&mut tx).await?);
        drop(tx);
        let mut known = Known::with_capacity(rows.len());
        for row in rows {
            match row {
                Ok((username, credential)) => _ = known.insert(username, credential),
                // One bad row must not lock the others out.
                Err(id) => tracing::error!("{id} has no valid MQTT password hash; it is left out"),
            }
        }
        let old = it.known.load_full();
        if known != *old {
            let known = Arc::new(known);
            it.known.store(known.clone());
            // Only now: who is thrown out does not come back with what they had.
            it.revoked.add(model::revoked(&old, &known));
        }
        it.loaded.send_replace(true);
        Ok(())
    }
}

fn concerns(change: Change) -> bool {
    matches!(
        change,
        Change::All
            | Change::Row {
                topic: Topic::Intent | Topic::Instance | Topic::Project | Topic::Mqtt,
                ..
            }
    )
}

fn count(result: &'static str) {
    metrics::counter!("openflow_mqtt_auth_total", "result" => result).increment(1);
}

impl Owner {
    pub(super) fn instance(self) -> Option<uuid::Uuid> {
        match self {
            Self::Instance(id) => Some(id),
            Self::Client(_) => None,
        }
    }

    pub(super) fn client(self) -> Option<uuid::Uuid> {
        match self {
            Self::Client(id) => Some(id),
            Self::Instance(_) => None,
        }
    }
}
