use std::{sync::Arc, time::Duration};

use futures_util::StreamExt as _;
use serde_json::json;
use tokio::{
    sync::mpsc,
    time::{MissedTickBehavior, interval},
};
use tokio_stream::wrappers::ReceiverStream;

use super::{
    Error,
    topics::{Batch, Topics},
    watchers::{Place, Watchers},
};
use crate::{
    audit::{self, Event},
    db::{Changes, Db},
    identity::{Identity, Role},
    kernel::{Actor, Clock, DomainError as _, Kind, ProjectId},
    mqtt::{Message, SharedBroker, Watch},
};

const TICK: Duration = Duration::from_millis(500);
/// Batches that a slow reader may be behind. While they wait changes come
/// together: only the last message of a topic is shown.
const BACKLOG: usize = 4;

/// What the topic browser stands on.
#[derive(Clone)]
pub struct Parts {
    pub db: Db,
    pub clock: Arc<dyn Clock>,
    pub identity: Identity,
    pub changes: Changes,
    pub broker: SharedBroker,
}

/// The use cases. Cheap to clone.
#[derive(Clone)]
pub struct Traffic {
    parts: Parts,
    watchers: Watchers,
}

impl Traffic {
    pub fn new(parts: Parts) -> Self {
        Self {
            parts,
            watchers: Watchers::default(),
        }
    }

    /// Every message of the project, gathered by topic, about twice a second.
    /// The stream ends when the broker does, and when the reader may no longer
    /// look.
    ///
    /// Each watcher has a subscription of its own: so each gets the retained
    /// messages first, and a slow one holds up nobody.
    pub(super) async fn watch(
        &self,
        actor: Actor,
        project: ProjectId,
    ) -> Result<ReceiverStream<Batch>, Error> {
        self.require(&actor, project, Role::Viewer).await?;
        let place = self.watchers.enter(project).ok_or(Error::TooManyWatchers)?;
        let messages = self.parts.broker.watch(project.0).await?;
        let (sender, receiver) = mpsc::channel(BACKLOG);
        let watcher = Watcher {
            topics: Topics::new(self.parts.clock.now()),
            parts: self.parts.clone(),
            actor,
            project,
            sender,
            _place: place,
        };
        tokio::spawn(watcher.run(messages));
        Ok(ReceiverStream::new(receiver))
    }

    /// Publishes a message. The audit log has its topic and size, and not what
    /// it says.
    pub(super) async fn publish(
        &self,
        actor: &Actor,
        project: ProjectId,
        message: Message,
    ) -> Result<(), Error> {
        self.require(actor, project, Role::Member).await?;
        let detail = json!({
            "bytes": message.payload.len(),
            "qos": message.qos,
            "retain": message.retain,
        });
        let topic = message.topic.clone();
        // Not inside a transaction, and so before its line in the log: there is
        // none for a message that the broker refused.
        self.parts.broker.publish(project.0, message).await?;
        let event = Event::new("mqtt.publish", Some(project), "topic", &topic, &topic);
        let mut tx = self.parts.db.begin_as(actor).await?;
        let now = self.parts.clock.now();
        audit::record(&mut tx, actor, now, event.with(detail)).await?;
        tx.commit().await?;
        Ok(())
    }

    async fn require(&self, actor: &Actor, project: ProjectId, role: Role) -> Result<(), Error> {
        let mut tx = self.parts.db.begin_as(actor).await?;
        let identity = &self.parts.identity;
        identity.require(&mut tx, actor, project, role).await?;
        Ok(())
    }
}

struct Watcher {
    topics: Topics,
    parts: Parts,
    actor: Actor,
    project: ProjectId,
    sender: mpsc::Sender<Batch>,
    _place: Place,
}

impl Watcher {
    async fn run(mut self, mut messages: Watch) {
        let identity = self.parts.identity.clone();
        let changes = self.parts.changes.clone();
        let shut_out = identity.until_shut_out(changes, self.actor.clone(), self.project);
        tokio::pin!(shut_out);
        let sender = self.sender.clone();
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // Time for the retained messages to come in.
        ticks.reset();
        loop {
            tokio::select! {
                () = sender.closed() => return,
                () = &mut shut_out => return,
                seen = messages.next() => match seen {
                    Some(seen) => self.topics.see(seen, self.parts.clock.now()),
                    None => return,
                },
                _ = ticks.tick() => if self.send().await.is_none() {
                    return;
                },
            }
        }
    }

    /// What changed, as far as the reader takes it. `None` for one who may no
    /// longer look.
    async fn send(&mut self) -> Option<()> {
        // Before each event, whatever was told in between.
        let identity = &self.parts.identity;
        match identity.still_looks(&self.actor, self.project).await {
            Ok(()) => {}
            Err(error) if error.kind() == Kind::Unavailable => return Some(()),
            Err(_) => return None,
        }
        let now = self.parts.clock.now();
        while let Ok(place) = self.sender.try_reserve() {
            let Some(batch) = self.topics.take(now) else {
                break;
            };
            place.send(batch);
        }
        Some(())
    }
}
