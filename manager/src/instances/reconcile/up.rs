//! Making, starting and upgrading a container, and waiting until it is up.
use std::{
    io::{self, ErrorKind},
    net::SocketAddr,
    time::Duration,
};

use chrono::TimeDelta;
use serde_json::json;
use tokio::time::Instant;

use super::{
    Reconciler,
    pass::Look,
    queue::{Attention, Next},
};
use crate::{
    audit::{self, Event},
    engines::Admin,
    instances::{Error, Status, seen},
    kernel::Actor,
    runtime::{self, ContainerState, Observed, Probe},
};

const HEALTH_PATH: &str = "/openflow/health";
/// Longer, and it is unhealthy (or its upgrade has failed).
const UP_WAIT: TimeDelta = TimeDelta::seconds(120);
const PROBE_PAUSE: Duration = Duration::from_millis(15);
const OBSERVE_EVERY: Duration = Duration::from_millis(500);
/// A running instance that misses so many probes is unhealthy.
const PROBES_MISSED: usize = 3;
const PROBES_MISSED_PAUSE: Duration = Duration::from_secs(1);
const UNHEALTHY_PAUSE: Duration = Duration::from_secs(5);

/// How the wait for a start ended.
enum Up {
    Healthy {
        flows: bool,
    },
    /// The container ended, or somebody wants something else: look again.
    Changed,
    Crashed,
    TimedOut,
}

impl Reconciler {
    /// Makes the container and starts it, after removing `old` if there is one.
    pub(super) async fn bring_up(
        &self,
        mut look: Look,
        old: Option<Observed>,
        attention: &Attention,
    ) -> Result<Next, Error> {
        if old.is_some() {
            look.seen.status = Status::Starting;
            look.seen.upstream = None;
            look.seen.detail = None;
            self.write(&mut look).await?;
        }
        let made = {
            let _slot = self.slot().await;
            self.make(&look, old.is_some()).await
        };
        match made {
            Ok(()) => self.started(look, attention).await,
            Err(error) => self.not_started(look, error).await,
        }
    }

    /// Starts the container that is there.
    pub(super) async fn start_again(
        &self,
        look: Look,
        attention: &Attention,
    ) -> Result<Next, Error> {
        let started = {
            let _slot = self.slot().await;
            self.start_with_a_burst(&look).await
        };
        match started {
            Ok(()) => self.started(look, attention).await,
            Err(error) => self.not_started(look, error).await,
        }
    }

    async fn start_with_a_burst(&self, look: &Look) -> Result<(), Error> {
        let instances = &self.instances;
        // A restored host has none of it.
        instances.ensure_database(&look.row, &look.inside).await?;
        let written = instances.ensure_secrets(&look.row, &look.inside).await;
        written.map_err(unwritten)?;
        let runtime = &instances.parts.runtime;
        let cpus = look.spec.cpus;
        if cpus < look.spec.start_cpus {
            runtime
                .limit_cpus(look.row.id, look.spec.start_cpus)
                .await?;
        }
        Ok(runtime.start(look.row.id).await?)
    }

    /// It is up: from now on it may use what it was given.
    async fn end_burst(&self, look: &Look) -> Result<(), Error> {
        let was_up = matches!(look.row.seen.status, Status::Running | Status::SafeMode);
        if !was_up && look.spec.cpus < look.spec.start_cpus {
            let runtime = &self.instances.parts.runtime;
            runtime.limit_cpus(look.row.id, look.spec.cpus).await?;
        }
        Ok(())
    }

    async fn make(&self, look: &Look, replace: bool) -> Result<(), Error> {
        let runtime = &self.instances.parts.runtime;
        let id = look.row.id;
        if replace {
            runtime.stop(id).await?;
            runtime.remove(id).await?;
        }
        self.instances
            .ensure_database(&look.row, &look.inside)
            .await?;
        let written = self.instances.ensure_files(&look.row, &look.inside).await;
        written.map_err(unwritten)?;
        runtime.ensure_network().await?;
        runtime.create(&look.spec).await?;
        runtime.start(id).await?;
        Ok(())
    }

    async fn not_started(&self, mut look: Look, error: Error) -> Result<Next, Error> {
        if matches!(error, Error::Runtime(runtime::Error::Unavailable(_))) {
            return Err(error);
        }
        if self.give_up_trial(&mut look, &error.to_string()).await? {
            return Ok(Next::Again);
        }
        tracing::warn!(%error, "instance {} cannot be started: {error}", look.row.name);
        look.seen.failed(error.to_string(), self.instances.now());
        look.seen.restart_done = look.row.restart_wanted;
        self.write(&mut look).await?;
        Ok(Next::Again)
    }

    async fn started(&self, mut look: Look, attention: &Attention) -> Result<Next, Error> {
        let Some(observed) = self.instances.parts.runtime.observe(look.row.id).await? else {
            return Ok(Next::Again);
        };
        // Of the run before.
        self.codes().remove(&look.row.id);
        let seen = &mut look.seen;
        seen.status = Status::Starting;
        seen.detail = None;
        seen.restart_done = look.row.restart_wanted;
        seen.crashes_seen = 0;
        seen.retry_at = None;
        note_container(&mut look, &observed);
        self.write(&mut look).await?;
        self.wait_up(look, observed, attention).await
    }

    /// A running container: is it healthy? Also finishes a start in the middle
    /// of which the manager was killed.
    pub(super) async fn check(
        &self,
        mut look: Look,
        observed: Observed,
        attention: &Attention,
    ) -> Result<Next, Error> {
        note_container(&mut look, &observed);
        self.rename(&look, &observed).await;
        let Some(address) = address_of(&look, &observed) else {
            return Ok(Next::After(UNHEALTHY_PAUSE));
        };
        let was_up = matches!(
            look.seen.status,
            Status::Running | Status::SafeMode | Status::Unhealthy
        );
        for missed in 0..PROBES_MISSED {
            if let Probe::Up { flows } = self
                .instances
                .parts
                .runtime
                .probe(address, HEALTH_PATH)
                .await
            {
                return self.healthy(look, address, flows).await;
            }
            if !was_up {
                return self.wait_up(look, observed, attention).await;
            }
            if missed + 1 < PROBES_MISSED {
                tokio::time::sleep(PROBES_MISSED_PAUSE).await;
            }
        }
        self.refuse_overdue(&mut look).await?;
        look.seen.status = Status::Unhealthy;
        look.seen.detail =
            Some("It runs, but does not answer its health check. The log may say why.".to_owned());
        self.write(&mut look).await?;
        Ok(Next::After(UNHEALTHY_PAUSE))
    }

    /// The container follows the instance's name, also a stopped one: its old
    /// name may be somebody else's by now.
    pub(super) async fn rename(&self, look: &Look, observed: &Observed) {
        let runtime = &self.instances.parts.runtime;
        if observed.name == look.spec.name {
            return;
        }
        if let Err(error) = runtime.rename(look.row.id, &look.spec.name).await {
            tracing::warn!(%error, "container {} keeps its old name: {error}", observed.name);
        }
    }

    async fn wait_up(
        &self,
        mut look: Look,
        observed: Observed,
        attention: &Attention,
    ) -> Result<Next, Error> {
        let Some(address) = address_of(&look, &observed) else {
            return Ok(Next::After(RETRY_ADDRESS));
        };
        match self.wait(&look, address, attention).await? {
            Up::Healthy { flows } => self.healthy(look, address, flows).await,
            Up::Changed => Ok(Next::Again),
            Up::Crashed => {
                let why = match self.told(look.row.id).await {
                    Some(told) => told,
                    None => {
                        let lines = self.last_lines(look.row.id).await;
                        format!("it crashed while starting.{lines}")
                    }
                };
                self.give_up_trial(&mut look, &why).await?;
                Ok(Next::Again)
            }
            Up::TimedOut => {
                if self
                    .give_up_trial(&mut look, "it did not become healthy")
                    .await?
                {
                    return Ok(Next::Again);
                }
                self.end_burst(&look).await?;
                look.seen.status = Status::Unhealthy;
                look.seen.detail = Some(format!(
                    "It has not answered for {} s since its start.",
                    UP_WAIT.num_seconds()
                ));
                self.write(&mut look).await?;
                Ok(Next::After(UNHEALTHY_PAUSE))
            }
        }
    }

    async fn wait(
        &self,
        look: &Look,
        address: SocketAddr,
        attention: &Attention,
    ) -> Result<Up, Error> {
        let runtime = &self.instances.parts.runtime;
        let began = self.instances.now();
        let mut first_up = None;
        let mut observed_at = Instant::now();
        while self.instances.now() - began < UP_WAIT {
            if !self.is_wanted(look, attention) {
                return Ok(Up::Changed);
            }
            match runtime.probe(address, HEALTH_PATH).await {
                Probe::Up { flows: true } => return Ok(Up::Healthy { flows: true }),
                Probe::Up { flows: false } => {
                    let since = *first_up.get_or_insert_with(Instant::now);
                    // In safe mode flows never start, and nobody waits for them.
                    let wait = look.row.engine.facts().flows_wait;
                    if look.seen.safe_mode || wait < since.elapsed() {
                        return Ok(Up::Healthy { flows: false });
                    }
                }
                Probe::Down => {}
            }
            if OBSERVE_EVERY < observed_at.elapsed() {
                observed_at = Instant::now();
                match runtime.observe(look.row.id).await? {
                    Some(it) if it.state == ContainerState::Running && it.restart_count == 0 => {}
                    Some(it) if it.state == ContainerState::Paused => return Ok(Up::Changed),
                    Some(_) => return Ok(Up::Crashed),
                    None => return Ok(Up::Changed),
                }
            }
            tokio::time::sleep(PROBE_PAUSE).await;
        }
        Ok(Up::TimedOut)
    }

    async fn healthy(
        &self,
        mut look: Look,
        address: SocketAddr,
        flows: bool,
    ) -> Result<Next, Error> {
        if let Some(next) = self.prove_restore(&mut look, address).await? {
            return Ok(next);
        }
        self.end_burst(&look).await?;
        let upgraded = look.upgrading;
        let seen = &mut look.seen;
        seen.status = if seen.safe_mode {
            Status::SafeMode
        } else {
            Status::Running
        };
        seen.detail = (!flows && !seen.safe_mode).then(|| {
            "The editor is up, but the flows do not run: a node type is missing, or they were stopped. The log says more."
                .to_owned()
        });
        seen.attempts = 0;
        seen.retry_at = None;
        seen.good_stack = Some(look.row.stack);
        self.write(&mut look).await?;
        if upgraded {
            tracing::info!("instance {} now runs {}", look.row.name, look.stack_name);
        }
        if look.seen.seeded_at.is_none() {
            self.seed(&mut look, address).await?;
        }
        Ok(Next::Done)
    }

    /// Back to the stack that was last healthy.
    pub(super) async fn roll_back(&self, look: &mut Look, why: &str) -> Result<(), Error> {
        let Some(good) = look.seen.good_stack else {
            return Ok(());
        };
        let parts = &self.instances.parts;
        // First, so that the next pass makes the old one, whenever we are
        // killed; a running container is never replaced for its spec alone.
        parts.runtime.stop(look.row.id).await?;
        parts.runtime.remove(look.row.id).await?;
        look.seen.upstream = None;
        let mut tx = parts.db.begin_system().await?;
        let (good_name, _) = seen::stack_image(&mut tx, good).await?;
        let row = &look.row;
        if seen::roll_back(&mut tx, row.id, row.stack, good).await? {
            let actor = Actor::System("instances.reconcile");
            let event = Event::new(
                "instance.rollback",
                Some(row.project),
                "instance",
                row.id,
                &row.name,
            )
            .with(json!({"from": row.stack, "to": good, "why": why}));
            audit::record(&mut tx, &actor, self.instances.now(), event).await?;
            look.seen.notice = Some(format!(
                "The upgrade to {} was undone: {why}. It runs {good_name} again.",
                look.stack_name
            ));
            look.seen.status = Status::Starting;
            look.seen.crash_count = 0;
            look.seen.restart_done = row.restart_wanted;
        }
        seen::write(&mut tx, row.id, &look.seen).await?;
        tx.commit().await?;
        look.row.seen = look.seen.clone();
        Ok(())
    }
}

const RETRY_ADDRESS: Duration = Duration::from_millis(200);

fn unwritten(error: io::Error) -> Error {
    Error::DataFolder(match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            "the disk is full. Free some space; the next try comes by itself.".to_owned()
        }
        _ => error.to_string(),
    })
}

fn note_container(look: &mut Look, observed: &Observed) {
    look.seen.upstream = address_of(look, observed).map(|it| it.to_string());
    look.seen.started_at = observed.started_at;
    look.seen.restart_needed = observed.spec_hash != look.spec.hash();
}

fn address_of(look: &Look, observed: &Observed) -> Option<SocketAddr> {
    let port = look.row.engine.facts().port;
    Some(SocketAddr::new(observed.address?, port))
}

pub(super) fn admin(look: &Look, address: SocketAddr) -> Admin {
    Admin {
        address,
        magic: look.inside.keys.magic_token.clone(),
    }
}
