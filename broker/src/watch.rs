//! Looking on at a tenant's messages, for the program itself.
use std::{
    collections::VecDeque,
    future::Future,
    io,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
};

use futures_util::{FutureExt as _, Stream};
use mqtt5::{
    QoS,
    broker::{
        router::{DeliveryLanes, LaneReceivers, SubscriptionRequest, TakeoverNotice},
        storage::QueueHandle,
    },
    packet::publish::PublishPacket,
    validate_topic_filter,
};
use tokio::sync::oneshot;
use tokio_util::sync::{CancellationToken, DropGuard};
use uuid::Uuid;

use crate::{
    broker::Broker,
    connect::OWN_ID,
    events::{Message, Qos},
    lock,
    tenant::{Lease, Tenant},
    window::Meter,
};

const MESSAGES_MAX: usize = 10_000;
const BYTES_MAX: usize = 16 << 20;
const LANE_MESSAGES: usize = 8 * 1024;
const QUEUE_BATCH: usize = 64;

/// A tenant's messages as they are published, the retained ones that match first. Who reads too slowly loses the
/// oldest of 10,000 messages or 16 MiB, and learns how many. Nothing of a watch is left when it is dropped.
///
/// The stream ends when the tenant is purged.
pub struct Watch {
    buffer: Arc<Buffer>,
    _end: DropGuard,
}

impl Watch {
    /// How many messages were lost until now.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.buffer.lost.get()
    }
}

impl Stream for Watch {
    type Item = Message;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Message>> {
        self.buffer.poll_pop(cx)
    }
}

/// Counts what a watch loses.
#[derive(Default)]
pub(crate) struct Lost(AtomicU64);

impl Lost {
    pub(crate) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

struct Buffer {
    lost: Arc<Lost>,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    messages: VecDeque<Message>,
    bytes: usize,
    ended: bool,
    reader: Option<Waker>,
}

impl Buffer {
    fn push(&self, packet: PublishPacket) {
        let message = Message {
            topic: packet.topic_name,
            payload: packet.payload,
            qos: Qos::try_from(packet.qos as u8).unwrap_or_default(),
            retain: packet.retain,
        };
        let mut waiting = lock(&self.waiting);
        waiting.bytes += message.payload.len();
        waiting.messages.push_back(message);
        while waiting.messages.len() > MESSAGES_MAX || waiting.bytes > BYTES_MAX {
            let Some(oldest) = waiting.messages.pop_front() else {
                break;
            };
            waiting.bytes -= oldest.payload.len();
            self.lost.add(1);
        }
        if let Some(reader) = waiting.reader.take() {
            reader.wake();
        }
    }

    fn end(&self) {
        let mut waiting = lock(&self.waiting);
        waiting.ended = true;
        if let Some(reader) = waiting.reader.take() {
            reader.wake();
        }
    }

    fn poll_pop(&self, cx: &mut Context<'_>) -> Poll<Option<Message>> {
        let mut waiting = lock(&self.waiting);
        if let Some(message) = waiting.messages.pop_front() {
            waiting.bytes -= message.payload.len();
            return Poll::Ready(Some(message));
        }
        if waiting.ended {
            return Poll::Ready(None);
        }
        waiting.reader = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl Broker {
    /// Watches the messages of a tenant that match a filter. The tenant stays in memory meanwhile.
    ///
    /// # Errors
    /// When the filter is none (shared subscriptions cannot be watched), or the tenant's storage cannot be opened.
    pub async fn watch(&self, tenant: Uuid, filter: &str) -> io::Result<Watch> {
        if filter.starts_with("$share/") || validate_topic_filter(filter).is_err() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "this is no topic filter",
            ));
        }
        let lease = self.0.tenants.lease(tenant).await?;
        let lost = Arc::new(Lost::default());
        let id = claim_id(&lease, &lost);
        let buffer = Arc::new(Buffer {
            lost,
            waiting: Mutex::default(),
        });
        let end = CancellationToken::new();
        let watch = Watch {
            buffer: Arc::clone(&buffer),
            _end: end.clone().drop_guard(),
        };
        let meter = Meter::new(Arc::clone(&lease.window));
        let forwarding = Forwarder::join(lease, id, filter, buffer).await.run(end);
        self.0.runtime().spawn(Metered {
            meter,
            task: Box::pin(forwarding),
        });
        Ok(watch)
    }
}

/// Ids are used again, so that the core's maps do not grow with each watch.
fn claim_id(tenant: &Tenant, lost: &Arc<Lost>) -> String {
    let mut watches = lock(&tenant.watches);
    let free = (0_usize..).map(|number| format!("{OWN_ID}watch-{number}"));
    let id = free.into_iter().find(|id| !watches.contains_key(id));
    let id = id.unwrap_or_default(); // there is always one
    watches.insert(id.clone(), Arc::clone(lost));
    id
}

/// Moves messages from the core's lanes into the watch's buffer.
struct Forwarder {
    lease: Lease,
    id: String,
    buffer: Arc<Buffer>,
    lanes: LaneReceivers,
    queue: QueueHandle,
    _registered: oneshot::Receiver<TakeoverNotice>,
}

impl Forwarder {
    async fn join(lease: Lease, id: String, filter: &str, buffer: Arc<Buffer>) -> Self {
        let (senders, lanes) = DeliveryLanes::channel(LANE_MESSAGES);
        let (disconnect, registered) = oneshot::channel();
        let router = &lease.router;
        let queue = router.queue_handle(&id);
        router
            .register_client(id.clone(), senders, Arc::clone(&queue), disconnect)
            .await;
        let request = SubscriptionRequest::new(id.clone(), filter, QoS::ExactlyOnce)
            .with_retain_as_published(true);
        if let Err(error) = router.subscribe(request).await {
            tracing::warn!(%error, "a watch could not subscribe");
        }
        for retained in router.get_retained_messages(filter).await {
            buffer.push(retained);
        }
        Self {
            lease,
            id,
            buffer,
            lanes,
            queue,
            _registered: registered,
        }
    }

    async fn run(mut self, end: CancellationToken) {
        loop {
            tokio::select! {
                biased;
                () = end.cancelled() => break,
                () = self.lease.closing.cancelled() => break,
                message = self.lanes.recv() => match message {
                    Some(message) => self.buffer.push(message.publish),
                    None => break,
                },
                // Holds messages only if the lane was full for a while.
                () = self.queue.notified() => self.drain_queue().await,
            }
        }
        self.lease.router.unregister_client(&self.id).await;
        self.queue.clear(None);
        lock(&self.lease.watches).remove(&self.id);
        self.buffer.end();
    }

    async fn drain_queue(&self) {
        loop {
            let messages = self.queue.take(QUEUE_BATCH).await;
            if messages.is_empty() {
                break;
            }
            for message in messages {
                self.buffer.push(message.to_publish_packet());
            }
        }
        self.queue.finish_drain();
    }
}

/// Publishers wait for watches as for clients.
struct Metered {
    meter: Arc<Meter>,
    task: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Future for Metered {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.meter.begin(cx.waker());
        let waker = Waker::from(Arc::clone(&self.meter));
        let polled = self.task.poll_unpin(&mut Context::from_waker(&waker));
        if polled.is_pending() {
            self.meter.rest();
        }
        polled
    }
}

impl Drop for Metered {
    fn drop(&mut self) {
        self.meter.end();
    }
}
