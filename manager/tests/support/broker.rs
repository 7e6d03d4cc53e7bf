//! A broker that does nothing but remember what it was asked.
use std::{collections::HashMap, sync::Mutex};

use openflow_manager::mqtt::{Broker, BrokerError, BrokerKind, Connection, Message, Seen, Watch};
use uuid::Uuid;

#[derive(Default)]
pub(crate) struct FakeBroker(Mutex<State>);

#[derive(Default)]
struct State {
    connections: HashMap<Uuid, Vec<Connection>>,
    kicked: Vec<String>,
    purged: Vec<Uuid>,
    published: Vec<(Uuid, Message)>,
    trouble: Option<BrokerError>,
}

impl FakeBroker {
    /// From here on, these are connected.
    pub(crate) fn set_connections(&self, project: Uuid, connections: Vec<Connection>) {
        self.0
            .lock()
            .unwrap()
            .connections
            .insert(project, connections);
    }

    /// What everything fails with, from here on.
    pub(crate) fn set_trouble(&self, trouble: Option<BrokerError>) {
        self.0.lock().unwrap().trouble = trouble;
    }

    /// The user names that were kicked, in that order.
    pub(crate) fn kicked(&self) -> Vec<String> {
        self.0.lock().unwrap().kicked.clone()
    }

    pub(crate) fn purged(&self) -> Vec<Uuid> {
        self.0.lock().unwrap().purged.clone()
    }

    pub(crate) fn published(&self) -> Vec<(Uuid, Message)> {
        self.0.lock().unwrap().published.clone()
    }

    fn ask<T>(&self, does: impl FnOnce(&mut State) -> T) -> Result<T, BrokerError> {
        let mut state = self.0.lock().unwrap();
        match &state.trouble {
            Some(trouble) => Err(trouble.clone()),
            None => Ok(does(&mut state)),
        }
    }
}

#[async_trait::async_trait]
impl Broker for FakeBroker {
    fn kind(&self) -> BrokerKind {
        BrokerKind::Emqx
    }

    async fn ping(&self) -> Result<(), BrokerError> {
        self.ask(|_| ())
    }

    async fn connections(&self, project: Uuid) -> Result<Vec<Connection>, BrokerError> {
        self.ask(|it| it.connections.get(&project).cloned().unwrap_or_default())
    }

    async fn kick(&self, usernames: &[String]) -> Result<usize, BrokerError> {
        self.ask(|it| {
            it.kicked.extend_from_slice(usernames);
            let all = it.connections.values_mut();
            all.map(|connections| {
                let before = connections.len();
                connections.retain(|it| !usernames.contains(&it.username));
                before - connections.len()
            })
            .sum()
        })
    }

    async fn purge(&self, project: Uuid) -> Result<(), BrokerError> {
        self.ask(|it| it.purged.push(project))
    }

    async fn publish(&self, project: Uuid, message: Message) -> Result<(), BrokerError> {
        self.ask(|it| it.published.push((project, message)))
    }

    /// What was published to the project so far, and then nothing.
    async fn watch(&self, project: Uuid) -> Result<Watch, BrokerError> {
        let seen = self.ask(|it| {
            let own = it.published.iter().filter(|(to, _)| *to == project);
            own.map(|(_, message)| Seen::Message(message.clone()))
                .collect::<Vec<_>>()
        })?;
        let pending = futures_util::stream::pending();
        let all = futures_util::StreamExt::chain(futures_util::stream::iter(seen), pending);
        Ok(Box::pin(all))
    }
}
