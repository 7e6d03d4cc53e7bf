use std::{
    collections::HashMap,
    panic::AssertUnwindSafe,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::FutureExt as _;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::Instrument as _;

use super::Reconciler;
use crate::kernel::InstanceId;

const AFTER_PANIC: Duration = Duration::from_secs(30);

/// What a look at an instance came to.
#[derive(Clone, Copy, Debug)]
pub(super) enum Next {
    /// As wanted, until told otherwise.
    Done,
    /// A step was taken; look again.
    Again,
    After(Duration),
}

/// Looks at instances: any number at once, each one's looks one after the
/// other. A call for attention during a look is kept and leads to another.
#[derive(Clone)]
pub(super) struct Queue {
    reconciler: Reconciler,
    term: CancellationToken,
    tasks: TaskTracker,
    running: Arc<Mutex<HashMap<InstanceId, Attention>>>,
}

/// Whether somebody called for attention since the look began.
#[derive(Clone, Default)]
pub(super) struct Attention(Arc<AtomicBool>);

impl Attention {
    pub(super) fn called(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    fn call(&self) {
        self.0.store(true, Ordering::Release);
    }

    fn take(&self) -> bool {
        self.0.swap(false, Ordering::AcqRel)
    }
}

impl Queue {
    pub(super) fn new(reconciler: Reconciler, term: CancellationToken) -> Self {
        Self {
            reconciler,
            term,
            tasks: TaskTracker::new(),
            running: Arc::default(),
        }
    }

    /// Looks at the instance soon. Never blocks.
    pub(super) fn look(&self, id: InstanceId) {
        if self.term.is_cancelled() {
            return;
        }
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(attention) = running.get(&id) {
            attention.call();
            return;
        }
        let attention = Attention::default();
        running.insert(id, attention.clone());
        let queue = self.clone();
        self.tasks.spawn(async move {
            let term = queue.term.clone();
            // A look that is dropped in the middle is finished by the next one.
            tokio::select! {
                () = term.cancelled() => {}
                () = queue.looks(id, &attention) => {}
            }
        });
    }

    /// Until every task has ended, after the term has.
    pub(super) async fn drained(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    async fn looks(&self, id: InstanceId, attention: &Attention) {
        loop {
            attention.take();
            let span = tracing::info_span!("reconcile", instance.id = %id);
            let look = AssertUnwindSafe(self.reconciler.pass(id, attention).instrument(span));
            let next = look.catch_unwind().await.unwrap_or_else(|_| {
                tracing::error!(instance.id = %id, "the reconciler panicked at instance {id}");
                Next::After(AFTER_PANIC)
            });
            if matches!(next, Next::Again) {
                continue;
            }
            {
                let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
                if attention.called() {
                    continue;
                }
                running.remove(&id);
            }
            if let Next::After(pause) = next {
                self.look_after(id, pause);
            }
            return;
        }
    }

    fn look_after(&self, id: InstanceId, pause: Duration) {
        let queue = self.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                () = queue.term.cancelled() => {}
                () = tokio::time::sleep(pause) => queue.look(id),
            }
        });
    }
}
