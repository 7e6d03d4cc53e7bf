//! What was read for a watcher that has not looked yet: bounded by messages
//! and by bytes, and what does not fit is counted.
use std::sync::{
    Arc,
    atomic::{AtomicU64, AtomicUsize, Ordering},
};

use futures_util::{StreamExt as _, stream};
use tokio::sync::mpsc;

use crate::mqtt::{Message, Seen, Watch};

const MESSAGES_MAX: usize = 1024;
/// More than the largest packet, so that each fits into an empty inbox.
const BYTES_MAX: usize = 8 << 20;

#[derive(Default)]
struct Counts {
    bytes: AtomicUsize,
    lost: AtomicU64,
}

/// The reader's end. Offering never waits: a slow watcher must not hold up the
/// connection, which would be ended by the broker then.
pub(super) struct Inbox {
    sender: mpsc::Sender<Message>,
    counts: Arc<Counts>,
}

pub(super) fn inbox() -> (Inbox, Watch) {
    let (sender, receiver) = mpsc::channel(MESSAGES_MAX);
    let counts = Arc::new(Counts::default());
    let watch = stream::unfold(
        (receiver, counts.clone()),
        async |(mut receiver, counts)| {
            let seen = next(&mut receiver, &counts).await?;
            Some((seen, (receiver, counts)))
        },
    );
    (Inbox { sender, counts }, watch.boxed())
}

async fn next(receiver: &mut mpsc::Receiver<Message>, counts: &Counts) -> Option<Seen> {
    let lost = |counts: &Counts| match counts.lost.swap(0, Ordering::Relaxed) {
        0 => None,
        n => Some(Seen::Lost(n)),
    };
    if let Some(lost) = lost(counts) {
        return Some(lost);
    }
    match receiver.recv().await {
        Some(message) => {
            counts.bytes.fetch_sub(size(&message), Ordering::Relaxed);
            Some(Seen::Message(message))
        }
        None => lost(counts),
    }
}

impl Inbox {
    pub(super) fn offer(&self, message: Message) {
        let size = size(&message);
        // Only this end adds.
        let fits = self.counts.bytes.load(Ordering::Relaxed) + size <= BYTES_MAX;
        self.counts.bytes.fetch_add(size, Ordering::Relaxed);
        if !fits || self.sender.try_send(message).is_err() {
            self.counts.bytes.fetch_sub(size, Ordering::Relaxed);
            self.lose();
        }
    }

    /// One that could not be read.
    pub(super) fn lose(&self) {
        self.counts.lost.fetch_add(1, Ordering::Relaxed);
    }

    /// Until nobody watches.
    pub(super) async fn unwatched(&self) {
        self.sender.closed().await;
    }
}

fn size(message: &Message) -> usize {
    message.topic.len() + message.payload.len()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn message(n: usize, bytes: usize) -> Message {
        Message {
            topic: format!("t/{n}"),
            payload: Bytes::from(vec![0; bytes]),
            qos: 0,
            retain: false,
        }
    }

    async fn fill(messages: usize, bytes: usize) -> (u64, u64) {
        let (inbox, mut watch) = inbox();
        for n in 0..messages {
            inbox.offer(message(n, bytes));
        }
        // What came later is there once somebody looked.
        let first = watch.next().await;
        assert_eq!(inbox.counts.lost.load(Ordering::Relaxed), 0);
        inbox.offer(message(0, 1));
        drop(inbox);
        let (mut seen, mut lost) = (0, 0);
        for it in stream::iter(first).chain(watch).collect::<Vec<_>>().await {
            match it {
                Seen::Message(_) => seen += 1,
                Seen::Lost(n) => lost += n,
            }
        }
        (seen, lost)
    }

    #[tokio::test]
    async fn what_does_not_fit_is_counted() {
        assert_eq!(fill(10, 10).await, (11, 0));
        let (seen, lost) = fill(3000, 10).await;
        assert_eq!(seen + lost, 3001);
        assert!((1024..1026).contains(&seen), "{seen}");
        let (seen, lost) = fill(30, 1 << 20).await;
        assert_eq!(seen + lost, 31);
        assert!((7..10).contains(&seen), "{seen}");
    }
}
