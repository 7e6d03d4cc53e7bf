//! Numbers for whoever watches over the broker.
use std::collections::HashMap;

use uuid::Uuid;

use crate::events::{DropReason, RefusedReason};

/// Totals count from the broker's start and never go back.
#[derive(Debug, Clone, Default)]
pub struct Stats {
    pub connections: usize,
    /// Connections that have not been authenticated yet.
    pub pending: usize,
    /// PUBLISH packets from and to clients.
    pub messages_in: u64,
    pub messages_out: u64,
    pub dropped: HashMap<DropReason, u64>,
    /// Delayed wills that a slow client lost; they are known by no tenant.
    pub dropped_elsewhere: u64,
    pub refused: HashMap<RefusedReason, u64>,
    /// Tenants that are in memory.
    pub tenants: HashMap<Uuid, TenantStats>,
}

/// Counts from when the tenant came into memory.
#[derive(Debug, Clone, Default)]
pub struct TenantStats {
    pub connections: usize,
    pub messages_in: u64,
    pub messages_out: u64,
    pub dropped: Vec<(DropReason, u64)>,
    /// `None` when it cannot be told without waiting.
    pub retained: Option<usize>,
    /// As of the last half minute.
    pub sessions: usize,
}

impl Stats {
    /// Adds what one tenant counted.
    pub(crate) fn add(&mut self, tenant: &TenantStats) {
        self.messages_in += tenant.messages_in;
        self.messages_out += tenant.messages_out;
        for (reason, count) in &tenant.dropped {
            *self.dropped.entry(*reason).or_default() += count;
        }
    }
}
