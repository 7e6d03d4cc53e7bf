use std::{future, net::SocketAddr};

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures_util::{
    StreamExt as _,
    stream::{self, BoxStream},
};
use tokio_stream::wrappers::BroadcastStream;
use uuid::Uuid;

use super::{
    Call, ContainerSpec, ContainerState, Ended, Error, FakeRuntime, Image, Isolation, Moment,
    Observed, Op, Probe, Rehearsal, RuntimeEvent, Stats,
    state::{Container, State},
};
use crate::{
    kernel::{InstanceId, drawn_before},
    runtime::{NetworkInfo, Runtime},
};

impl FakeRuntime {
    /// Every call goes through here: recorded, then programmed failures and
    /// hangs, then the effect in one piece.
    async fn call<T>(
        &self,
        op: Op,
        instance: Option<InstanceId>,
        effect: impl FnOnce(&mut State) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let (hang, result) = {
            let mut state = self.state();
            let call = Call { op, instance };
            state.calls.push(call);
            let hang = state.take_hang(&call);
            let result = if hang == Some(Moment::BeforeEffect) {
                None
            } else if state.away && op != Op::Probe {
                Some(Err(Error::Unavailable("it was sent away".into())))
            } else if let Some(error) = state.take_failure(&call) {
                Some(Err(error))
            } else {
                Some(effect(&mut state))
            };
            (hang, result)
        };
        match (hang, result) {
            (None, Some(result)) => result,
            _ => {
                self.hung.notify_one();
                future::pending().await
            }
        }
    }

    /// A call that changes the instance's container; `Ok(true)` of `effect`
    /// becomes an event.
    async fn change(
        &self,
        op: Op,
        id: InstanceId,
        effect: impl FnOnce(&mut State) -> Result<bool, Error>,
    ) -> Result<(), Error> {
        self.call(op, Some(id), |state| {
            if effect(state)? {
                self.emit(RuntimeEvent::Instance(id));
            }
            Ok(())
        })
        .await
    }
}

fn container(state: &mut State, id: InstanceId) -> Result<&mut Container, Error> {
    state.containers.get_mut(&id).ok_or(Error::NoContainer)
}

#[async_trait]
impl Runtime for FakeRuntime {
    async fn ping(&self) -> Result<String, Error> {
        self.call(Op::Ping, None, |_| Ok("fake".into())).await
    }

    async fn ensure_network(&self) -> Result<NetworkInfo, Error> {
        self.call(Op::EnsureNetwork, None, |_| {
            Ok(NetworkInfo {
                subnets: vec!["172.30.0.0/16".parse().map_err(refused)?],
                gateways: vec!["172.30.0.1".parse().map_err(refused)?],
            })
        })
        .await
    }

    fn isolation(&self) -> Isolation {
        self.state().isolation.clone()
    }

    async fn list(&self) -> Result<Vec<Observed>, Error> {
        self.call(Op::List, None, |state| {
            Ok(state.containers.values().map(Container::observed).collect())
        })
        .await
    }

    async fn observe(&self, id: InstanceId) -> Result<Option<Observed>, Error> {
        self.call(Op::Observe, Some(id), |state| {
            Ok(state.containers.get(&id).map(Container::observed))
        })
        .await
    }

    async fn create(&self, spec: &ContainerSpec) -> Result<(), Error> {
        let id = spec.instance;
        self.change(Op::Create, id, |state| {
            if matches!(state.images.get(&spec.image), Some(None)) {
                return Err(Error::ImageMissing(spec.image.clone()));
            }
            if state.name_is_taken(&spec.name, id) {
                return Err(Error::NameTaken(spec.name.clone()));
            }
            let known = state.containers.get(&id);
            if known.is_some_and(|it| it.spec.hash() == spec.hash()) {
                return Ok(false);
            }
            state.containers.insert(id, Container::new(spec.clone()));
            Ok(true)
        })
        .await
    }

    async fn start(&self, id: InstanceId) -> Result<(), Error> {
        self.change(Op::Start, id, |state| {
            let address = state.next_address();
            let container = container(state, id)?;
            match container.state {
                ContainerState::Running => return Ok(false),
                ContainerState::Paused => container.state = ContainerState::Running,
                _ => {
                    container.address = Some(address);
                    container.run(true);
                }
            }
            Ok(true)
        })
        .await
    }

    async fn stop(&self, id: InstanceId) -> Result<(), Error> {
        self.change(Op::Stop, id, |state| {
            let Some(container) = state.containers.get_mut(&id) else {
                return Ok(false);
            };
            if matches!(
                container.state,
                ContainerState::Created | ContainerState::Exited
            ) {
                return Ok(false);
            }
            container.end(ContainerState::Exited, 0);
            self.emit_died(id, 0);
            Ok(true)
        })
        .await
    }

    async fn pause(&self, id: InstanceId) -> Result<(), Error> {
        self.change(Op::Pause, id, |state| {
            let container = container(state, id)?;
            match container.state {
                ContainerState::Paused => Ok(false),
                ContainerState::Running => {
                    container.state = ContainerState::Paused;
                    Ok(true)
                }
                _ => Err(refused("the container is not running")),
            }
        })
        .await
    }

    async fn unpause(&self, id: InstanceId) -> Result<(), Error> {
        self.change(Op::Unpause, id, |state| {
            let container = container(state, id)?;
            let paused = container.state == ContainerState::Paused;
            if paused {
                container.state = ContainerState::Running;
            }
            Ok(paused)
        })
        .await
    }

    async fn remove(&self, id: InstanceId) -> Result<(), Error> {
        self.change(Op::Remove, id, |state| {
            let container = state.containers.remove(&id);
            if container.as_ref().is_some_and(Container::is_up) {
                self.emit_died(id, 137);
            }
            Ok(container.is_some())
        })
        .await
    }

    async fn rename(&self, id: InstanceId, name: &str) -> Result<(), Error> {
        self.change(Op::Rename, id, |state| {
            if state.name_is_taken(name, id) {
                return Err(Error::NameTaken(name.into()));
            }
            let container = container(state, id)?;
            if container.name == name {
                return Ok(false);
            }
            container.name = name.into();
            Ok(true)
        })
        .await
    }

    async fn limit_cpus(&self, id: InstanceId, _cpus: f64) -> Result<(), Error> {
        self.change(Op::LimitCpus, id, |state| {
            container(state, id).map(|_| false)
        })
        .await
    }

    async fn probe(&self, address: SocketAddr, _path: &str) -> Probe {
        let instance = self.state().at(address.ip());
        self.call(Op::Probe, instance, |state| {
            Ok(instance.map_or(Probe::Down, |id| state.probe(id)))
        })
        .await
        .unwrap_or(Probe::Down)
    }

    async fn logs(
        &self,
        id: InstanceId,
        tail: u32,
        follow: bool,
    ) -> Result<BoxStream<'static, Result<Bytes, Error>>, Error> {
        self.call(Op::Logs, Some(id), |state| {
            let container = container(state, id)?;
            let skip = container.log.len().saturating_sub(tail as usize);
            let past: Vec<_> = container.log.iter().skip(skip).cloned().map(Ok).collect();
            let past = stream::iter(past);
            match &container.followers {
                Some(followers) if follow => {
                    let coming = BroadcastStream::new(followers.subscribe())
                        .filter_map(|line| future::ready(line.ok().map(Ok)));
                    Ok(past.chain(coming).boxed())
                }
                _ => Ok(past.boxed()),
            }
        })
        .await
    }

    async fn stats(&self, id: InstanceId) -> Result<Stats, Error> {
        self.call(Op::Stats, Some(id), |state| {
            container(state, id)?;
            Ok(state.stats.get(&id).copied().unwrap_or_default())
        })
        .await
    }

    async fn image(&self, reference: &str) -> Result<Option<Image>, Error> {
        self.call(Op::Image, None, |state| {
            Ok(state.images.get(reference).cloned().unwrap_or_else(|| {
                Some(Image {
                    id: format!("sha256:{}", crate::crypto::sha256_hex(reference)),
                    ..Image::default()
                })
            }))
        })
        .await
    }

    async fn pull(&self, reference: &str) -> Result<(), Error> {
        self.call(Op::Pull, None, |state| {
            state.images.remove(reference);
            Ok(())
        })
        .await
    }

    async fn run_once(&self, rehearsal: &Rehearsal) -> Result<Ended, Error> {
        let ended = self.call(Op::RunOnce, None, |state| {
            if matches!(state.images.get(&rehearsal.image), Some(None)) {
                return Err(Error::ImageMissing(rehearsal.image.clone()));
            }
            state.rehearsals.push(rehearsal.clone());
            let ended = (state.rehearse)(rehearsal);
            state.under_way.insert(rehearsal.id);
            ended
        });
        // Whose call hangs, its container stays.
        let ended = ended.await;
        self.state().under_way.remove(&rehearsal.id);
        ended
    }

    async fn end_run(&self, id: Uuid) -> Result<(), Error> {
        self.call(Op::EndRun, None, |state| {
            state.under_way.remove(&id);
            Ok(())
        })
        .await
    }

    async fn sweep_rehearsals(&self, at: DateTime<Utc>) -> Result<(), Error> {
        self.call(Op::SweepRehearsals, None, |state| {
            state.under_way.retain(|it| !drawn_before(*it, at));
            Ok(())
        })
        .await
    }

    async fn events(&self) -> Result<BoxStream<'static, RuntimeEvent>, Error> {
        self.call(Op::Events, None, |_| {
            let events = BroadcastStream::new(self.lock_events().subscribe());
            let events = events.filter_map(|event| future::ready(event.ok()));
            Ok(stream::iter([RuntimeEvent::Connected])
                .chain(events)
                .boxed())
        })
        .await
    }
}

fn refused(error: impl ToString) -> Error {
    Error::Refused(error.to_string())
}
