//! Back-pressure: a publisher waits until what was taken before it has been delivered.
//!
//! The core hands a QoS 0 message to each subscriber's lane and drops it when the lane is full, whoever sends faster
//! than others read loses messages. So a tenant takes messages by windows, each far smaller than a lane. A window is
//! opened again when the tenant is quiet: when no task of its connections runs or is about to, and no socket refuses
//! what was written to it. Then every lane is empty. Tasks are watched through their wakers ([`Meter`]), so quiet is
//! known, not guessed by a clock.
//!
//! One reader that takes little holds a window open for [`PATIENCE`] at most.
use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering},
    },
    task::{Wake, Waker},
    time::Duration,
};

use futures_util::task::AtomicWaker;
use tokio::{sync::Semaphore, time::sleep};

use crate::lock;

const PATIENCE: Duration = Duration::from_secs(1);
/// Small messages in a window, for a tenant with few connections.
pub(crate) const MESSAGES_MAX: usize = 512;
/// With many connections a window is smaller, because each message may go to each of them.
const MESSAGES_MIN: usize = 16;
const COPIES_MAX: usize = 32_768;
/// What counts as one small message; with `MESSAGES_MAX` of them a window is of 4 MiB.
const UNIT_BYTES: usize = 8 << 10;
/// What a message takes in memory besides its payload, for the accounts.
const OVERHEAD_BYTES: usize = 512;

pub(crate) struct Window {
    /// Tasks that run, will run, or wait for a socket to take more.
    busy: AtomicUsize,
    permits: Semaphore,
    size: AtomicUsize,
    /// Counts openings.
    epoch: AtomicU64,
    /// Bytes ever taken.
    taken: AtomicU64,
    opening: Mutex<()>,
}

impl Window {
    pub(crate) fn new() -> Self {
        Self {
            busy: AtomicUsize::new(0),
            permits: Semaphore::new(MESSAGES_MAX),
            size: AtomicUsize::new(MESSAGES_MAX),
            epoch: AtomicU64::new(0),
            taken: AtomicU64::new(0),
            opening: Mutex::new(()),
        }
    }

    pub(crate) fn fit(&self, connections: usize) {
        let size = (COPIES_MAX / connections.max(1)).clamp(MESSAGES_MIN, MESSAGES_MAX);
        self.size.store(size, Ordering::Relaxed);
    }

    /// Bytes ever taken, with an overhead for each message.
    pub(crate) fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }

    /// Returns when a message with so many bytes may be routed.
    pub(crate) async fn take(&self, bytes: usize) {
        let size = self.size.load(Ordering::Relaxed);
        let units = (bytes / UNIT_BYTES + 1).min(size);
        let mut acquire =
            std::pin::pin!(self.permits.acquire_many(u32::try_from(units).unwrap_or(1)));
        loop {
            let epoch = self.epoch.load(Ordering::Relaxed);
            tokio::select! {
                biased;
                permits = &mut acquire => {
                    if let Ok(permits) = permits {
                        permits.forget();
                    }
                    break;
                }
                () = sleep(PATIENCE) => {
                    if self.epoch.load(Ordering::Relaxed) == epoch {
                        self.open();
                    }
                }
            }
        }
        let cost = u64::try_from(bytes + OVERHEAD_BYTES).unwrap_or(u64::MAX);
        self.taken.fetch_add(cost, Ordering::Relaxed);
    }

    fn open(&self) {
        let _opening = lock(&self.opening);
        let missing = self
            .size
            .load(Ordering::Relaxed)
            .saturating_sub(self.permits.available_permits());
        if missing > 0 {
            self.epoch.fetch_add(1, Ordering::Relaxed);
            self.permits.add_permits(missing);
        }
    }

    fn enter(&self) {
        self.busy.fetch_add(1, Ordering::SeqCst);
    }

    fn leave(&self) {
        if self.busy.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.open();
        }
    }
}

const IDLE: u8 = 0;
const COUNTED: u8 = 1;
const WOKEN: u8 = 3;
/// A bit that stays: wakers outlive their task.
const ENDED: u8 = 4;

/// Tells the window whether one task has something to do. The task is polled with this as its waker.
pub(crate) struct Meter {
    window: Arc<Window>,
    state: AtomicU8,
    task: AtomicWaker,
}

impl Meter {
    pub(crate) fn new(window: Arc<Window>) -> Arc<Self> {
        Arc::new(Self {
            window,
            state: AtomicU8::new(IDLE),
            task: AtomicWaker::new(),
        })
    }

    /// At the beginning of a poll.
    pub(crate) fn begin(&self, task: &Waker) {
        self.task.register(task);
        if self.state.swap(COUNTED, Ordering::SeqCst) == IDLE {
            self.window.enter();
        }
    }

    /// At the end of a poll, when the task has nothing left that it could do now; true unless it was woken again.
    pub(crate) fn rest(&self) -> bool {
        let rests = self
            .state
            .compare_exchange(COUNTED, IDLE, Ordering::SeqCst, Ordering::SeqCst);
        if rests.is_ok() {
            self.window.leave();
        }
        rests.is_ok()
    }

    /// When the task has ended.
    pub(crate) fn end(&self) {
        if self.state.fetch_or(ENDED, Ordering::SeqCst) & (ENDED | COUNTED) == COUNTED {
            self.window.leave();
        }
    }
}

impl Wake for Meter {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.state.fetch_or(WOKEN, Ordering::SeqCst) == IDLE {
            self.window.enter();
        }
        self.task.wake();
    }
}
