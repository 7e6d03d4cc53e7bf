use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::{IpAddr, Ipv4Addr},
    sync::atomic::{AtomicU16, Ordering::Relaxed},
};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use tokio::sync::broadcast;
use uuid::Uuid;

use super::{
    Call, ContainerSpec, ContainerState, Ended, Error, FakeProbe, Image, Isolation, Moment,
    Observed, Probe, Rehearsal, Stats,
};
use crate::kernel::{Clock as _, InstanceId, SystemClock};

const LOG_LINES_MAX: usize = 10_000;

pub(super) struct State {
    pub(super) away: bool,
    pub(super) containers: BTreeMap<InstanceId, Container>,
    pub(super) foreign_names: BTreeSet<String>,
    /// `None` for one that is missing; what is not in here is on the host.
    pub(super) images: BTreeMap<String, Option<Image>>,
    pub(super) default_probe: FakeProbe,
    pub(super) probes: BTreeMap<InstanceId, FakeProbe>,
    pub(super) stats: BTreeMap<InstanceId, Stats>,
    pub(super) isolation: Isolation,
    pub(super) failures: Vec<Failure>,
    pub(super) hang: Option<Hang>,
    pub(super) calls: Vec<Call>,
    pub(super) rehearse: Box<Rehearse>,
    pub(super) rehearsals: Vec<Rehearsal>,
    /// Runs that have a container now.
    pub(super) under_way: BTreeSet<Uuid>,
    pub(super) on_this_host: bool,
    last_host: u16,
}

type Rehearse = dyn Fn(&Rehearsal) -> Result<Ended, Error> + Send;

fn would_live() -> Ended {
    Ended {
        exit_code: Some(0),
        stdout: "{\"ok\":true,\"checks\":[]}\n".into(),
        ..Ended::default()
    }
}

impl Default for State {
    fn default() -> Self {
        Self {
            away: false,
            containers: BTreeMap::new(),
            foreign_names: BTreeSet::new(),
            images: BTreeMap::new(),
            default_probe: FakeProbe::Healthy { after: 0 },
            probes: BTreeMap::new(),
            stats: BTreeMap::new(),
            isolation: Isolation::Enforced,
            failures: Vec::new(),
            hang: None,
            calls: Vec::new(),
            rehearse: Box::new(|_| Ok(would_live())),
            rehearsals: Vec::new(),
            under_way: BTreeSet::new(),
            on_this_host: false,
            last_host: 1,
        }
    }
}

pub(super) struct Failure {
    pub(super) op: super::Op,
    pub(super) instance: Option<InstanceId>,
    pub(super) once: bool,
    pub(super) error: Error,
}

pub(super) struct Hang {
    pub(super) matches: Box<dyn Fn(&Call) -> bool + Send>,
    pub(super) calls_left: usize,
    pub(super) moment: Moment,
}

impl State {
    #[expect(clippy::panic, reason = "a test's own mistake")]
    pub(super) fn existing(&mut self, id: InstanceId) -> &mut Container {
        match self.containers.get_mut(&id) {
            Some(container) => container,
            None => panic!("instance {id} has no container"),
        }
    }

    /// A fresh address at each start, so that a stale one is found out.
    pub(super) fn next_address(&mut self) -> IpAddr {
        static LAST_LOCAL: AtomicU16 = AtomicU16::new(1);
        if self.on_this_host {
            let [high, low] = LAST_LOCAL.fetch_add(1, Relaxed).to_be_bytes();
            // Apart from other tests that run now.
            let process = 1 + (std::process::id() % 250) as u8;
            return Ipv4Addr::new(127, process, high, low).into();
        }
        self.last_host += 1;
        let [high, low] = self.last_host.to_be_bytes();
        Ipv4Addr::new(172, 30, high, low).into()
    }

    /// The instance that has this address now.
    pub(super) fn at(&self, address: IpAddr) -> Option<InstanceId> {
        let mut containers = self.containers.iter();
        containers
            .find(|(_, it)| it.observed().address == Some(address))
            .map(|(id, _)| *id)
    }

    pub(super) fn name_is_taken(&self, name: &str, by_other_than: InstanceId) -> bool {
        self.foreign_names.contains(name)
            || self
                .containers
                .iter()
                .any(|(id, it)| *id != by_other_than && it.name == name)
    }

    /// The failure programmed for this call; one for the next call is used up.
    pub(super) fn take_failure(&mut self, call: &Call) -> Option<Error> {
        let at = self.failures.iter().position(|it| {
            it.op == call.op && (it.instance.is_none() || it.instance == call.instance)
        })?;
        if self.failures[at].once {
            return Some(self.failures.remove(at).error);
        }
        Some(self.failures[at].error.clone())
    }

    /// Whether this call is the one that hangs, and where.
    pub(super) fn take_hang(&mut self, call: &Call) -> Option<Moment> {
        let hang = self.hang.as_mut()?;
        if !(hang.matches)(call) {
            return None;
        }
        hang.calls_left = hang.calls_left.saturating_sub(1);
        if hang.calls_left > 0 {
            return None;
        }
        self.hang.take().map(|it| it.moment)
    }

    pub(super) fn probe(&mut self, id: InstanceId) -> Probe {
        let mode = self.probes.get(&id).copied().unwrap_or(self.default_probe);
        let Some(container) = self.containers.get_mut(&id) else {
            return Probe::Down;
        };
        if container.state != ContainerState::Running {
            return Probe::Down;
        }
        container.probes += 1;
        match mode {
            FakeProbe::Healthy { after } if container.probes > after => Probe::Up { flows: true },
            FakeProbe::Healthy { .. } | FakeProbe::Never => Probe::Down,
            FakeProbe::FlowsNever => Probe::Up { flows: false },
        }
    }
}

pub(super) struct Container {
    pub(super) spec: ContainerSpec,
    pub(super) name: String,
    pub(super) state: ContainerState,
    pub(super) address: Option<IpAddr>,
    pub(super) oom_killed: bool,
    pub(super) restart_count: i64,
    pub(super) log: VecDeque<Bytes>,
    /// Followers of the log; gone while it does not run.
    pub(super) followers: Option<broadcast::Sender<Bytes>>,
    exit_code: i64,
    started_at: Option<DateTime<Utc>>,
    finished_at: Option<DateTime<Utc>>,
    /// Health requests since the last start.
    probes: u32,
}

impl Container {
    pub(super) fn new(spec: ContainerSpec) -> Self {
        Self {
            name: spec.name.clone(),
            spec,
            state: ContainerState::Created,
            address: None,
            oom_killed: false,
            restart_count: 0,
            log: VecDeque::new(),
            followers: None,
            exit_code: 0,
            started_at: None,
            finished_at: None,
            probes: 0,
        }
    }

    /// Its process runs anew. The engine counts its own restarts, and starts
    /// counting again when somebody else starts it.
    pub(super) fn run(&mut self, by_hand: bool) {
        self.state = ContainerState::Running;
        self.oom_killed = false;
        self.started_at = Some(SystemClock.now());
        self.probes = 0;
        self.followers = Some(broadcast::Sender::new(LOG_LINES_MAX));
        if by_hand {
            self.restart_count = 0;
        }
    }

    pub(super) fn end(&mut self, state: ContainerState, exit_code: i64) {
        self.state = state;
        self.exit_code = exit_code;
        self.finished_at = Some(SystemClock.now());
        self.followers = None;
    }

    pub(super) fn write_log(&mut self, line: &str) {
        let line = Bytes::from(format!("{line}\n"));
        if let Some(followers) = &self.followers {
            let _ = followers.send(line.clone());
        }
        self.log.push_back(line);
        if self.log.len() > LOG_LINES_MAX {
            self.log.pop_front();
        }
    }

    pub(super) fn is_up(&self) -> bool {
        matches!(self.state, ContainerState::Running | ContainerState::Paused)
    }

    pub(super) fn observed(&self) -> Observed {
        let ended = matches!(
            self.state,
            ContainerState::Exited | ContainerState::Restarting
        );
        Observed {
            instance: self.spec.instance,
            name: self.name.clone(),
            spec_hash: self.spec.hash(),
            state: self.state,
            address: self.address.filter(|_| self.is_up()),
            exit_code: ended.then_some(self.exit_code),
            oom_killed: self.oom_killed,
            restart_count: self.restart_count,
            started_at: self.started_at,
            finished_at: self.finished_at,
        }
    }
}
