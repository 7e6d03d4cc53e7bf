//! Ends long-lived streams when the right that they were opened with is gone.
use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use super::{CompiledRoute, Session, Tables};
use crate::clock::unix_now;

/// Watches one stream's right. Costs nothing until the stream has to wait.
pub(crate) struct Guard {
    tables: Arc<Tables>,
    route: Arc<CompiledRoute>,
    session: Option<Session>,
    lost: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl Guard {
    pub(crate) fn new(
        tables: &Arc<Tables>,
        route: &Arc<CompiledRoute>,
        session: Option<Session>,
    ) -> Self {
        Self {
            tables: Arc::clone(tables),
            route: Arc::clone(route),
            session,
            lost: None,
        }
    }

    /// Ready once the right is gone.
    pub(crate) fn poll_lost(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let lost = self.lost.get_or_insert_with(|| {
            let lost = lost(
                Arc::clone(&self.tables),
                Arc::clone(&self.route),
                self.session,
            );
            Box::pin(lost)
        });
        lost.as_mut().poll(cx)
    }

    pub(crate) async fn lost(mut self) {
        std::future::poll_fn(|cx| self.poll_lost(cx)).await;
    }
}

async fn lost(tables: Arc<Tables>, route: Arc<CompiledRoute>, session: Option<Session>) {
    let mut changed = tables.subscribe();
    let seconds_left = session.map_or(i64::MAX, |session| {
        session.expires_at.saturating_sub(unix_now())
    });
    let a_year = 365 * 24 * 3600;
    let expiry = tokio::time::sleep(Duration::from_secs(seconds_left.clamp(0, a_year) as u64));
    tokio::pin!(expiry);
    loop {
        let granted = tables
            .current()
            .is_some_and(|table| table.still_grants(&route, session.as_ref()));
        if !granted {
            return;
        }
        tokio::select! {
            changed = changed.changed() => if changed.is_err() { return },
            () = &mut expiry => return,
        }
    }
}
