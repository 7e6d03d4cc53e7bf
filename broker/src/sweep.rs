//! What goes on by itself: expiry, letting go of unused tenants, reporting drops.
use std::{sync::Weak, time::Duration};

use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::broker::Inner;

const REPORT_PERIOD: Duration = Duration::from_secs(1);
const SWEEP_PERIOD: Duration = Duration::from_secs(30);
/// Reads every stored message, so it is rare; expired ones are not delivered meanwhile.
const CLEAN_PERIOD: Duration = Duration::from_secs(3600);

/// Until the broker is gone.
pub(crate) async fn run(inner: Weak<Inner>) {
    let mut tick = interval(REPORT_PERIOD);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut swept, mut cleaned) = (Instant::now(), Instant::now());
    loop {
        tick.tick().await;
        let Some(inner) = inner.upgrade() else {
            return;
        };
        report(&inner);
        let period = SWEEP_PERIOD.min(inner.settings.limits.idle_timeout);
        if swept.elapsed() < period {
            continue;
        }
        swept = Instant::now();
        let clean = cleaned.elapsed() >= CLEAN_PERIOD;
        if clean {
            cleaned = swept;
        }
        sweep(&inner, clean).await;
    }
}

fn report(inner: &Inner) {
    for tenant in inner.tenants.open() {
        for (reason, count) in tenant.dropped.news() {
            inner.events.dropped(tenant.id, count, reason);
        }
    }
}

async fn sweep(inner: &Inner, clean: bool) {
    for tenant in inner.tenants.open() {
        tenant.sweep().await;
        if clean {
            tenant.clean().await;
        }
        let id = tenant.id;
        drop(tenant);
        let idle = inner.settings.limits.idle_timeout;
        if let Some(tenant) = inner.tenants.close_unused(id, idle).await {
            for (reason, count) in tenant.dropped.news() {
                inner.events.dropped(id, count, reason);
            }
        }
    }
}
