//! An engine in memory for fast tests: it behaves like Docker, and a test can
//! make it fail, hang or change under the manager's feet.
mod engine;
mod state;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{Notify, broadcast};
use uuid::Uuid;

use super::{
    ContainerSpec, ContainerState, Ended, Error, Image, Isolation, Observed, Probe, Rehearsal,
    RuntimeEvent, Stats,
};
use crate::kernel::InstanceId;
use state::{Failure, Hang, State};

const EVENTS_BACKLOG: usize = 1024;

/// Shared by `Arc`; a "new manager on the same host" is another user of it.
pub struct FakeRuntime {
    state: Mutex<State>,
    /// Replaced when the engine goes away, which ends all streams.
    events: Mutex<broadcast::Sender<RuntimeEvent>>,
    hung: Notify,
}

/// One call of the trait as the fake saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    pub op: Op,
    /// For a probe, whose address it was.
    pub instance: Option<InstanceId>,
}

/// The trait's methods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    Ping,
    EnsureNetwork,
    List,
    Observe,
    Create,
    Start,
    Stop,
    Pause,
    Unpause,
    Remove,
    Rename,
    LimitCpus,
    Probe,
    Logs,
    Stats,
    Image,
    Pull,
    RunOnce,
    EndRun,
    SweepRehearsals,
    Events,
}

impl Op {
    /// Whether it is a step on the way of one instance, as opposed to what
    /// background loops ask.
    fn is_step(self) -> bool {
        !matches!(
            self,
            Self::Ping
                | Self::EnsureNetwork
                | Self::List
                | Self::Events
                | Self::EndRun
                | Self::SweepRehearsals
        )
    }
}

/// Where in a call the caller "dies".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    BeforeEffect,
    AfterEffect,
}

/// How an instance answers health requests while it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FakeProbe {
    /// Up with flows, after that many requests since its start found it down.
    Healthy {
        after: u32,
    },
    Never,
    FlowsNever,
}

impl Default for FakeRuntime {
    fn default() -> Self {
        Self {
            state: Mutex::default(),
            events: Mutex::new(broadcast::Sender::new(EVENTS_BACKLOG)),
            hung: Notify::new(),
        }
    }
}

/// What a test does to the engine. What stands for a person at the host
/// (`crash`, `kill`, `remove_by_hand`, …) panics without a container.
impl FakeRuntime {
    /// An engine that is away refuses every call and ends event streams; its
    /// containers live on.
    pub fn set_away(&self, away: bool) {
        self.state().away = away;
        if away {
            self.drop_event_streams();
        }
    }

    /// Ends all event streams, as a restart of the engine does.
    pub fn drop_event_streams(&self) {
        *self.lock_events() = broadcast::Sender::new(EVENTS_BACKLOG);
    }

    /// The next call of that method fails, without effect.
    pub fn fail_next(&self, op: Op, error: Error) {
        self.state().failures.push(Failure {
            op,
            instance: None,
            once: true,
            error,
        });
    }

    /// Calls of that method for that instance fail until [`Self::heal`].
    pub fn fail_instance(&self, id: InstanceId, op: Op, error: Error) {
        self.state().failures.push(Failure {
            op,
            instance: Some(id),
            once: false,
            error,
        });
    }

    /// Forgets all programmed failures and hangs.
    pub fn heal(&self) {
        let mut state = self.state();
        state.failures.clear();
        state.hang = None;
    }

    /// The `nth` (from 1) call from now that is a step of some instance never
    /// returns. Calls after it work: they are the new manager's.
    pub fn hang_at(&self, nth: usize, moment: Moment) {
        self.hang_on(|call| call.op.is_step(), nth, moment);
    }

    /// The same for the `nth` call that `matches`.
    pub fn hang_on(
        &self,
        matches: impl Fn(&Call) -> bool + Send + 'static,
        nth: usize,
        moment: Moment,
    ) {
        self.state().hang = Some(Hang {
            matches: Box::new(matches),
            calls_left: nth,
            moment,
        });
    }

    /// Resolves when a programmed hang has happened (once for each).
    pub async fn hung(&self) {
        self.hung.notified().await;
    }

    /// All calls so far.
    pub fn calls(&self) -> Vec<Call> {
        self.state().calls.clone()
    }

    pub fn clear_calls(&self) {
        self.state().calls.clear();
    }

    /// How often `op` was called for that instance.
    pub fn count(&self, op: Op, id: InstanceId) -> usize {
        let call = Call {
            op,
            instance: Some(id),
        };
        self.state().calls.iter().filter(|it| **it == call).count()
    }

    /// The container as it is, without a recorded call.
    pub fn container(&self, id: InstanceId) -> Option<Observed> {
        self.state().containers.get(&id).map(|it| it.observed())
    }

    /// What the container was made from.
    pub fn spec(&self, id: InstanceId) -> Option<ContainerSpec> {
        self.state().containers.get(&id).map(|it| it.spec.clone())
    }

    /// Its process ends with that code and the engine has started it again.
    pub fn crash(&self, id: InstanceId, exit_code: i64) {
        self.crash_looping(id, exit_code);
        self.state().existing(id).run(false);
        self.emit(RuntimeEvent::Instance(id));
    }

    /// Its process ends with that code; the engine waits with the restart.
    pub fn crash_looping(&self, id: InstanceId, exit_code: i64) {
        let mut state = self.state();
        let container = state.existing(id);
        container.end(ContainerState::Restarting, exit_code);
        container.restart_count += 1;
        drop(state);
        self.emit_died(id, exit_code);
    }

    /// The kernel kills it for its memory; the engine waits with the restart.
    pub fn run_out_of_memory(&self, id: InstanceId) {
        self.crash_looping(id, 137);
        self.state().existing(id).oom_killed = true;
    }

    /// `docker kill`: it stays down.
    pub fn kill(&self, id: InstanceId) {
        self.state().existing(id).end(ContainerState::Exited, 137);
        self.emit_died(id, 137);
    }

    /// `docker pause`.
    pub fn pause_by_hand(&self, id: InstanceId) {
        self.state().existing(id).state = ContainerState::Paused;
        self.emit(RuntimeEvent::Instance(id));
    }

    /// `docker rm -f`.
    pub fn remove_by_hand(&self, id: InstanceId) {
        assert!(self.state().containers.remove(&id).is_some());
        self.emit(RuntimeEvent::Instance(id));
    }

    /// Containers that are started from now on have addresses of this host:
    /// a test may listen there, and otherwise who asks is refused at once.
    pub fn start_on_this_host(&self) {
        self.state().on_this_host = true;
    }

    /// A container of somebody else has this name.
    pub fn take_name(&self, name: &str) {
        self.state().foreign_names.insert(name.into());
    }

    pub fn free_name(&self, name: &str) {
        self.state().foreign_names.remove(name);
    }

    /// Every image is on the host unless said so here; a pull brings it.
    pub fn remove_image(&self, reference: &str) {
        self.state().images.insert(reference.into(), None);
    }

    pub fn add_image(&self, reference: &str, labels: BTreeMap<String, String>) {
        let image = Image {
            id: format!("sha256:{}", crate::crypto::sha256_hex(reference)),
            labels,
        };
        self.state().images.insert(reference.into(), Some(image));
    }

    /// How all instances answer, but for those with a setting of their own.
    pub fn set_probes(&self, probe: FakeProbe) {
        self.state().default_probe = probe;
    }

    pub fn set_probe(&self, id: InstanceId, probe: FakeProbe) {
        self.state().probes.insert(id, probe);
    }

    pub fn set_stats(&self, id: InstanceId, stats: Stats) {
        self.state().stats.insert(id, stats);
    }

    /// How runs of throwaway containers end from now on; `end` may look into
    /// their data folder. Unless said so they print the verdict of an instance
    /// that would live.
    pub fn set_rehearsals(
        &self,
        end: impl Fn(&Rehearsal) -> Result<Ended, Error> + Send + 'static,
    ) {
        self.state().rehearse = Box::new(end);
    }

    /// What was run once so far.
    pub fn rehearsals(&self) -> Vec<Rehearsal> {
        self.state().rehearsals.clone()
    }

    /// Runs whose container is there: whoever waited for them hangs.
    pub fn runs_under_way(&self) -> Vec<Uuid> {
        self.state().under_way.iter().copied().collect()
    }

    pub fn set_isolation(&self, isolation: Isolation) {
        self.state().isolation = isolation;
    }

    /// The container writes a line (without its line feed).
    pub fn write_log(&self, id: InstanceId, line: &str) {
        self.state().existing(id).write_log(line);
    }
}

impl FakeRuntime {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_events(&self) -> MutexGuard<'_, broadcast::Sender<RuntimeEvent>> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn emit(&self, event: RuntimeEvent) {
        let _ = self.lock_events().send(event); // nobody listening is fine
    }

    fn emit_died(&self, instance: InstanceId, exit_code: i64) {
        self.emit(RuntimeEvent::Died {
            instance,
            exit_code,
        });
    }
}
