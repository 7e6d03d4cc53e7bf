//! From the engine's JSON to our own types. Pure.
use std::{collections::HashMap, net::IpAddr};

use bollard::models::{
    ContainerInspectResponse, ContainerStateStatusEnum, ContainerStatsResponse, ContainerSummary,
    ContainerSummaryStateEnum, EndpointSettings, EventMessage,
};
use chrono::{DateTime, Datelike as _, Utc};

use crate::{
    kernel::InstanceId,
    runtime::{ContainerState, Observed, RuntimeEvent, Stats},
};

pub(super) const LABEL_INSTALLATION: &str = "openflow.installation";
pub(super) const LABEL_INSTANCE: &str = "openflow.instance";
pub(super) const LABEL_PROJECT: &str = "openflow.project";
pub(super) const LABEL_ENGINE: &str = "openflow.engine";
pub(super) const LABEL_SPEC: &str = "openflow.spec";
/// In place of the instance: a run that ends, never an instance's container.
pub(super) const LABEL_REHEARSAL: &str = "openflow.rehearsal";

type Labels = HashMap<String, String>;

pub(super) fn instance(labels: &Labels) -> Option<InstanceId> {
    labels.get(LABEL_INSTANCE)?.parse().ok()
}

/// `None` for what is not an instance's container. `network_id` is the current
/// network's: a container that was made for an earlier one of the same name
/// never starts again.
pub(super) fn observed(
    inspect: &ContainerInspectResponse,
    network: &str,
    network_id: Option<&str>,
) -> Option<Observed> {
    let labels = inspect.config.as_ref()?.labels.as_ref()?;
    let state = inspect.state.as_ref()?;
    let endpoints = inspect.network_settings.as_ref();
    let endpoint = endpoints.and_then(|it| it.networks.as_ref()?.get(network));
    let container_state = match container_state(state.status?) {
        down @ (ContainerState::Created | ContainerState::Exited) => {
            let made_for = endpoint.and_then(|it| it.network_id.as_deref());
            match (made_for.filter(|id| !id.is_empty()), network_id) {
                (Some(made_for), Some(current)) if made_for != current => ContainerState::Dead,
                _ => down,
            }
        }
        other => other,
    };
    let ended = matches!(
        container_state,
        ContainerState::Exited | ContainerState::Restarting | ContainerState::Dead
    );
    Some(Observed {
        instance: instance(labels)?,
        name: inspect.name.as_deref()?.trim_start_matches('/').into(),
        spec_hash: labels.get(LABEL_SPEC).cloned().unwrap_or_default(),
        state: container_state,
        address: address(endpoint, container_state),
        exit_code: state.exit_code.filter(|_| ended),
        oom_killed: state.oom_killed.unwrap_or(false),
        restart_count: inspect.restart_count.unwrap_or(0),
        started_at: time(state.started_at.as_deref()),
        finished_at: time(state.finished_at.as_deref()),
    })
}

/// What a list entry tells: no exit code, times or restarts. For a container
/// whose details the engine does not give in time.
pub(super) fn observed_roughly(summary: &ContainerSummary, network: &str) -> Option<Observed> {
    let labels = summary.labels.as_ref()?;
    let state = match summary.state? {
        ContainerSummaryStateEnum::CREATED => ContainerState::Created,
        ContainerSummaryStateEnum::PAUSED => ContainerState::Paused,
        ContainerSummaryStateEnum::RESTARTING => ContainerState::Restarting,
        ContainerSummaryStateEnum::EXITED => ContainerState::Exited,
        ContainerSummaryStateEnum::REMOVING | ContainerSummaryStateEnum::DEAD => {
            ContainerState::Dead
        }
        _ => ContainerState::Running,
    };
    let endpoints = summary.network_settings.as_ref();
    let endpoint = endpoints.and_then(|it| it.networks.as_ref()?.get(network));
    Some(Observed {
        instance: instance(labels)?,
        name: name(summary)?.into(),
        spec_hash: labels.get(LABEL_SPEC).cloned().unwrap_or_default(),
        state,
        address: address(endpoint, state),
        exit_code: None,
        oom_killed: false,
        restart_count: 0,
        started_at: None,
        finished_at: None,
    })
}

pub(super) fn name(summary: &ContainerSummary) -> Option<&str> {
    Some(summary.names.as_ref()?.first()?.trim_start_matches('/'))
}

pub(super) fn container_state(status: ContainerStateStatusEnum) -> ContainerState {
    match status {
        ContainerStateStatusEnum::EMPTY | ContainerStateStatusEnum::CREATED => {
            ContainerState::Created
        }
        // Newer engines say so while a stop's grace runs.
        ContainerStateStatusEnum::RUNNING | ContainerStateStatusEnum::STOPPING => {
            ContainerState::Running
        }
        ContainerStateStatusEnum::PAUSED => ContainerState::Paused,
        ContainerStateStatusEnum::RESTARTING => ContainerState::Restarting,
        ContainerStateStatusEnum::EXITED => ContainerState::Exited,
        ContainerStateStatusEnum::REMOVING | ContainerStateStatusEnum::DEAD => ContainerState::Dead,
    }
}

fn address(endpoint: Option<&EndpointSettings>, state: ContainerState) -> Option<IpAddr> {
    if !matches!(state, ContainerState::Running | ContainerState::Paused) {
        return None;
    }
    endpoint?.ip_address.as_ref()?.parse().ok()
}

/// The engine writes year 1 for "never".
fn time(text: Option<&str>) -> Option<DateTime<Utc>> {
    let time = DateTime::parse_from_rfc3339(text?).ok()?.to_utc();
    (time.year() > 1).then_some(time)
}

/// What the event means to us; `None` for what changes nothing (someone looks
/// inside, a health check runs).
pub(super) fn event(message: &EventMessage) -> Option<RuntimeEvent> {
    let attributes = message.actor.as_ref()?.attributes.as_ref()?;
    let instance = instance(attributes)?;
    match message.action.as_deref()? {
        "die" => Some(RuntimeEvent::Died {
            instance,
            exit_code: attributes.get("exitCode")?.parse().ok()?,
        }),
        "create" | "start" | "stop" | "kill" | "oom" | "pause" | "unpause" | "rename"
        | "destroy" | "update" => Some(RuntimeEvent::Instance(instance)),
        _ => None,
    }
}

/// One reading of the CPU clock of a container.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct CpuSample {
    pub(super) used_ns: u64,
    pub(super) read_at: DateTime<Utc>,
}

impl CpuSample {
    /// 100 is one core; `None` when `earlier` is not earlier or of another run.
    pub(super) fn percent_since(self, earlier: Self) -> Option<f64> {
        let elapsed = (self.read_at - earlier.read_at).num_nanoseconds()?;
        let used = self.used_ns.checked_sub(earlier.used_ns)?;
        (elapsed > 0).then(|| used as f64 / elapsed as f64 * 100.0)
    }
}

/// `None` when it does not run.
pub(super) fn cpu_sample(stats: &ContainerStatsResponse) -> Option<CpuSample> {
    let usage = stats.cpu_stats.as_ref()?.cpu_usage.as_ref()?;
    let sample = CpuSample {
        used_ns: usage.total_usage?,
        read_at: stats.read?,
    };
    (sample.read_at.year() > 1).then_some(sample)
}

/// Billionths of a core.
pub(super) fn nano_cpus(cpus: f64) -> i64 {
    (cpus * 1e9).round() as i64
}

/// All but the CPU's share, which takes two samples.
pub(super) fn stats(stats: &ContainerStatsResponse) -> Stats {
    let memory = stats.memory_stats.as_ref();
    let networks = stats.networks.iter().flat_map(HashMap::values);
    let (rx, tx) = networks.fold((0, 0), |(rx, tx), it| {
        (rx + it.rx_bytes.unwrap_or(0), tx + it.tx_bytes.unwrap_or(0))
    });
    let used = memory.and_then(|it| it.usage).unwrap_or(0);
    let details = memory.and_then(|it| it.stats.as_ref());
    // cgroup v1 has the total with the children, v2 only this.
    let cache = details.and_then(|it| {
        it.get("total_inactive_file")
            .or_else(|| it.get("inactive_file"))
    });
    Stats {
        cpu_percent: 0.0,
        memory_bytes: used.saturating_sub(cache.copied().unwrap_or(0)),
        memory_limit_bytes: memory.and_then(|it| it.limit).unwrap_or(0),
        network_rx_bytes: rx,
        network_tx_bytes: tx,
        pids: (stats.pids_stats.as_ref())
            .and_then(|it| it.current)
            .unwrap_or(0),
    }
}

#[cfg(test)]
#[path = "map_tests.rs"]
mod tests;
