//! The live view: changes of a project's instances as server-sent events.
use std::{collections::HashSet, time::Duration};

use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::Stream;
use serde_json::json;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::{Error, Instances, store, views::InstanceView};
use crate::{
    db::{Change, Topic},
    identity::Role,
    kernel::{Actor, InstanceId, PageRequest, ProjectId},
};

/// A reader that is this many events behind waits, and then sees the newest.
const BACKLOG: usize = 16;
const HEARTBEAT: Duration = Duration::from_secs(15);

type Feed = mpsc::Sender<Result<Event, std::convert::Infallible>>;

impl Instances {
    /// First every instance, then each that changes, as `event: instance`;
    /// `event: deleted` with its id for one that is gone. The stream ends when
    /// the reader may no longer look.
    pub(super) async fn events(
        &self,
        actor: Actor,
        project: ProjectId,
    ) -> Result<Sse<impl Stream<Item = Result<Event, std::convert::Infallible>> + use<>>, Error>
    {
        let mut tx = self.parts.db.begin_as(&actor).await?;
        self.parts
            .identity
            .require(&mut tx, &actor, project, Role::Viewer)
            .await?;
        drop(tx);
        let (sender, receiver) = mpsc::channel(BACKLOG);
        let follower = Follower {
            instances: self.clone(),
            actor,
            project,
            shown: HashSet::new(),
            sender,
        };
        tokio::spawn(follower.run());
        let keep_alive = KeepAlive::new().interval(HEARTBEAT);
        Ok(Sse::new(ReceiverStream::new(receiver)).keep_alive(keep_alive))
    }
}

struct Follower {
    instances: Instances,
    actor: Actor,
    project: ProjectId,
    shown: HashSet<InstanceId>,
    sender: Feed,
}

impl Follower {
    async fn run(mut self) {
        let mut changes = self.instances.parts.changes.subscribe();
        let parts = self.instances.parts.clone();
        let shut_out = parts.identity.clone().until_shut_out(
            parts.changes.clone(),
            self.actor.clone(),
            self.project,
        );
        tokio::pin!(shut_out);
        if self.send_all().await.is_none() {
            return;
        }
        loop {
            let change = tokio::select! {
                () = self.sender.closed() => return,
                () = &mut shut_out => return,
                change = changes.next() => change,
            };
            let sent = match change {
                None => return,
                Some(Change::Row {
                    topic: Topic::Instance,
                    id,
                }) => self.send_one(InstanceId(id)).await,
                // Membership, or notices that were missed.
                Some(
                    Change::Row {
                        topic: Topic::Access,
                        ..
                    }
                    | Change::All,
                ) => self.send_all().await,
                Some(Change::Row { .. }) => Some(()),
            };
            if sent.is_none() {
                return;
            }
        }
    }

    async fn send_all(&mut self) -> Option<()> {
        let mut page = PageRequest {
            limit: PageRequest::LIMIT_MAX,
            after: None,
        };
        let mut gone = std::mem::take(&mut self.shown);
        loop {
            let part = self
                .instances
                .list(&self.actor, self.project, page)
                .await
                .ok()?;
            self.still_looks().await?;
            for it in part.items {
                gone.remove(&it.id);
                self.send_view(it).await?;
            }
            match part.next {
                Some(next) => page.after = Some(next),
                None => break,
            }
        }
        for id in gone {
            self.send_deleted(id).await?;
        }
        Some(())
    }

    /// Asked after what is sent was read: so nothing that happened later than the
    /// reader's last moment is seen by them.
    async fn still_looks(&self) -> Option<()> {
        let identity = &self.instances.parts.identity;
        let looks = identity.still_looks(&self.actor, self.project);
        looks.await.ok()
    }

    async fn send_one(&mut self, id: InstanceId) -> Option<()> {
        let mut tx = self.instances.parts.db.begin_as(&self.actor).await.ok()?;
        let found = store::get(&mut tx, id).await.ok()?;
        drop(tx);
        self.still_looks().await?;
        match found {
            Some(it) if it.project == self.project => self.send_view(it).await,
            Some(_) => Some(()),
            None if self.shown.remove(&id) => self.send_deleted(id).await,
            None => Some(()),
        }
    }

    async fn send_view(&mut self, it: super::Instance) -> Option<()> {
        self.shown.insert(it.id);
        let view = InstanceView::new(it, &self.instances.parts.settings);
        let event = Event::default().event("instance").json_data(view).ok()?;
        self.sender.send(Ok(event)).await.ok()
    }

    async fn send_deleted(&self, id: InstanceId) -> Option<()> {
        let event = Event::default()
            .event("deleted")
            .json_data(json!({ "id": id }))
            .ok()?;
        self.sender.send(Ok(event)).await.ok()
    }
}
