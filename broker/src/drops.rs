//! Sees the messages that the core drops.
//!
//! The core says so only in its trace events. This layer listens to those few and counts them for the tenant in whose
//! task they happen. `tests/drops.rs` overflows a lane and a queue, and fails when the events have changed.
use std::{
    fmt::Debug,
    sync::atomic::{AtomicU64, Ordering},
};

use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    Layer,
    filter::{FilterFn, LevelFilter},
    layer::Context,
    registry::LookupSpan,
};

use crate::{
    events::DropReason,
    tenant::{SCOPE, Scope},
};

const ROUTER: &str = "mqtt5::broker::router";
const QUEUE: &str = "mqtt5::broker::storage::client_queue";
const SUBSCRIBE: &str = "mqtt5::broker::client_handler::subscribe";
const HANDLER: &str = "mqtt5::broker::client_handler";

/// Drops in tasks of no tenant: delayed wills that found a full lane.
static ELSEWHERE: AtomicU64 = AtomicU64::new(0);

pub(crate) fn elsewhere() -> u64 {
    ELSEWHERE.load(Ordering::Relaxed)
}

#[derive(Default)]
pub(crate) struct Dropped {
    counts: [AtomicU64; DropReason::ALL.len()],
    reported: [AtomicU64; DropReason::ALL.len()],
}

impl Dropped {
    pub(crate) fn add(&self, reason: DropReason, count: u64) {
        if let Some(counter) = self.counts.get(reason as usize) {
            counter.fetch_add(count, Ordering::Relaxed);
        }
    }

    pub(crate) fn counts(&self) -> Vec<(DropReason, u64)> {
        let counts = self
            .counts
            .iter()
            .map(|count| count.load(Ordering::Relaxed));
        DropReason::ALL.into_iter().zip(counts).collect()
    }

    /// What was dropped since the last call.
    pub(crate) fn news(&self) -> Vec<(DropReason, u64)> {
        let mut news = self.counts();
        for ((_, count), reported) in news.iter_mut().zip(&self.reported) {
            *count -= reported.swap(*count, Ordering::Relaxed);
        }
        news.retain(|(_, count)| *count > 0);
        news
    }
}

/// To be added to the program's subscriber, beside its other layers. Those must have their filters as filters of their
/// own (`Layer::with_filter`): a filter of the whole subscriber would keep the events from this layer too.
///
/// Without it nothing is counted as dropped.
pub fn drop_layer<S>() -> impl Layer<S> + Send + Sync + 'static
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let filter = FilterFn::new(is_drop).with_max_level_hint(LevelFilter::TRACE);
    DropLayer.with_filter(filter)
}

fn is_drop(metadata: &Metadata<'_>) -> bool {
    if !metadata.is_event() {
        return false;
    }
    let has = |name| metadata.fields().field(name).is_some();
    let size = metadata.fields().len();
    match (metadata.target(), *metadata.level()) {
        (ROUTER, Level::TRACE) | (SUBSCRIBE, Level::DEBUG) => size == 2 && has("client_id"),
        (QUEUE, Level::WARN) => has("dropped"),
        (HANDLER, Level::DEBUG) => has("client_id") && has("count"),
        _ => false,
    }
}

struct DropLayer;

impl<S: Subscriber> Layer<S> for DropLayer {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let mut said = Said::default();
        event.record(&mut said);
        let counted = SCOPE.try_with(|scope| said.count(event.metadata().target(), scope));
        if counted.is_err() && said.is_dropping {
            ELSEWHERE.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[derive(Default)]
struct Said {
    is_dropping: bool,
    client_id: String,
    count: u64,
}

impl Said {
    fn count(&self, target: &str, scope: &Scope) {
        let tenant = &scope.tenant;
        match target {
            QUEUE => tenant.dropped.add(DropReason::Queue, self.count),
            HANDLER => tenant.note_requeued(
                &self.client_id,
                usize::try_from(self.count).unwrap_or(usize::MAX),
            ),
            _ if !self.is_dropping => {}
            _ => match crate::lock(&tenant.watches).get(&self.client_id) {
                Some(lost) => lost.add(1),
                None => tenant.dropped.add(DropReason::Lane, 1),
            },
        }
    }
}

impl Visit for Said {
    fn record_u64(&mut self, field: &Field, value: u64) {
        if matches!(field.name(), "dropped" | "count") {
            self.count = value;
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "client_id" {
            value.clone_into(&mut self.client_id);
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        match field.name() {
            "message" => {
                let said = format!("{value:?}");
                self.is_dropping = said.starts_with("Drop") && said.contains("QoS 0");
            }
            "client_id" => self.client_id = format!("{value:?}"),
            _ => {}
        }
    }
}
