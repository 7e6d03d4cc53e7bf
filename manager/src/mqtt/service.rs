use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use arc_swap::ArcSwap;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    BrokerError, BrokerInfo, BrokerKind, Connection, Credentials, Error, EventSink, SharedBroker,
    events::EventWriter,
    jobs::Purge,
    kicks::Kicker,
    model::{Known, Owner},
};
use crate::{
    db::{Changes, Db},
    identity::{Identity, Role},
    jobs::{self, Wake},
    kernel::{Actor, Clock, ProjectId},
};

/// A broker that is slower is as good as away.
const TIMEOUT: Duration = Duration::from_secs(5);

/// What a broker stands on: made before it.
#[derive(Clone)]
pub struct Foundation {
    pub credentials: Credentials,
    pub events: EventSink,
    /// Taken when the background work begins.
    writer: Arc<Mutex<Option<EventWriter>>>,
}

impl Foundation {
    pub fn new(db: Db, clock: Arc<dyn Clock>) -> Self {
        let known = Arc::new(ArcSwap::from_pointee(Known::new()));
        let (events, writer) = EventSink::new(db.clone(), clock, known.clone());
        Self {
            credentials: Credentials::new(db, known, events.clone()),
            events,
            writer: Arc::new(Mutex::new(Some(writer))),
        }
    }
}

/// What the slice is built from.
#[derive(Clone)]
pub struct Parts {
    pub db: Db,
    pub clock: Arc<dyn Clock>,
    pub identity: Identity,
    pub foundation: Foundation,
    pub broker: SharedBroker,
    pub info: BrokerInfo,
}

/// The projects' MQTT; the sub-slices add their use cases. Cheap to clone.
#[derive(Clone)]
pub struct Mqtt {
    pub(super) parts: Arc<Parts>,
}

/// How the broker is, for one project.
#[derive(Clone, Debug)]
pub(super) struct Overview {
    pub(super) kind: BrokerKind,
    pub(super) is_up: bool,
    pub(super) detail: Option<String>,
    pub(super) info: BrokerInfo,
    /// `None` when the broker does not tell.
    pub(super) connected: Option<usize>,
}

impl Mqtt {
    pub fn new(parts: Parts) -> Self {
        let parts = Arc::new(parts);
        Self { parts }
    }

    /// Begins the background work; it ends with `stop`.
    pub fn spawn(&self, tracker: &TaskTracker, changes: &Changes, stop: &CancellationToken) {
        let Parts {
            db,
            clock,
            foundation,
            broker,
            ..
        } = &*self.parts;
        let writer = foundation
            .writer
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(writer) = writer {
            tracker.spawn(writer.run(stop.clone()));
        }
        let credentials = foundation.credentials.clone();
        tracker.spawn(credentials.clone().run(changes.clone(), stop.clone()));
        let kicker = Kicker {
            credentials,
            broker: broker.clone(),
            events: foundation.events.clone(),
        };
        tracker.spawn(kicker.run(stop.clone()));
        let purge = Purge {
            db: db.clone(),
            clock: clock.clone(),
            broker: broker.clone(),
        };
        jobs::spawn(tracker, stop.clone(), Wake::default(), purge);
    }

    /// Fails unless the actor has at least that role in the project.
    pub(super) async fn require(
        &self,
        actor: &Actor,
        project: ProjectId,
        role: Role,
    ) -> Result<(), Error> {
        let mut tx = self.parts.db.begin_as(actor).await?;
        self.parts
            .identity
            .require(&mut tx, actor, project, role)
            .await?;
        Ok(())
    }

    pub(super) async fn overview(
        &self,
        actor: &Actor,
        project: ProjectId,
    ) -> Result<Overview, Error> {
        self.require(actor, project, Role::Viewer).await?;
        let broker = &self.parts.broker;
        let ping = in_time(broker.ping());
        let (ping, connections) = tokio::join!(ping, in_time(broker.connections(project.0)));
        // A broker that is up may not be set up to be asked.
        let trouble = ping.as_ref().err().or(connections.as_ref().err());
        Ok(Overview {
            kind: broker.kind(),
            is_up: ping.is_ok(),
            detail: trouble
                .map(ToString::to_string)
                .or_else(|| self.parts.info.note.clone()),
            info: self.parts.info.clone(),
            connected: connections.as_ref().ok().map(Vec::len),
        })
    }

    pub(super) async fn connections(
        &self,
        actor: &Actor,
        project: ProjectId,
    ) -> Result<Vec<Named>, Error> {
        self.require(actor, project, Role::Viewer).await?;
        let connections = in_time(self.parts.broker.connections(project.0)).await?;
        let known = self.parts.foundation.credentials.known();
        Ok(connections
            .into_iter()
            .map(|connection| Named::new(connection, &known))
            .collect())
    }

    /// How the broker is, for the health page; `None` where there is none.
    pub async fn ping(&self) -> Option<Result<(), BrokerError>> {
        let broker = &self.parts.broker;
        match broker.kind() {
            BrokerKind::None => None,
            BrokerKind::BuiltIn | BrokerKind::Emqx => Some(in_time(broker.ping()).await),
        }
    }
}

/// A connection and whose it is.
#[derive(Clone, Debug)]
pub(super) struct Named {
    pub(super) connection: Connection,
    /// `None` when its credentials have just gone.
    pub(super) owner: Option<Owner>,
    pub(super) name: String,
}

impl Named {
    fn new(connection: Connection, known: &Known) -> Self {
        let found = known.get(&connection.username);
        Self {
            owner: found.map(|it| it.owner),
            name: found.map_or_else(|| connection.username.clone(), |it| it.name.clone()),
            connection,
        }
    }
}

async fn in_time<T>(asked: impl Future<Output = Result<T, BrokerError>>) -> Result<T, BrokerError> {
    match tokio::time::timeout(TIMEOUT, asked).await {
        Ok(answer) => answer,
        Err(_) => {
            let waited = format!("no answer within {} seconds", TIMEOUT.as_secs());
            Err(BrokerError::Unavailable(waited))
        }
    }
}
