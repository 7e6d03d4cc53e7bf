//! What a watcher has seen: one entry for each topic, bounded. No I/O.
use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use chrono::{DateTime, Utc};

use super::{
    model::{Encoding, TOPIC_BYTES_MAX},
    rate::Rate,
};
use crate::mqtt::{Message, Seen};

/// Topics that one watcher sees; the first ones.
pub(super) const TOPICS_MAX: usize = 5000;
/// Of a payload that is kept and shown.
pub(super) const PAYLOAD_BYTES_MAX: usize = 4 << 10;
/// Of all topics and payloads together. Beyond it topics are shown without
/// their payloads.
const BYTES_MAX: usize = 16 << 20;
/// Of topics and payloads in one batch.
const BATCH_BYTES_MAX: usize = 512 << 10;

pub(super) struct Topics {
    began: DateTime<Utc>,
    topics: HashMap<Arc<str>, Entry>,
    /// Those that changed since they were taken, the longest waiting first:
    /// each is once in it, so that a flood on one topic delays no other.
    changed: VecDeque<Arc<str>>,
    /// Of all topics and kept payloads.
    bytes: usize,
    lost: u64,
    is_news: bool,
}

struct Entry {
    payload: Vec<u8>,
    bytes: usize,
    qos: u8,
    retain: bool,
    count: u64,
    rate: Rate,
    at: DateTime<Utc>,
    waits: bool,
    /// Whether the rate that was taken last was not 0.
    moved: bool,
}

/// What changed. Numbers count from when the watching began.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Batch {
    pub(super) topics: Vec<Shown>,
    pub(super) topic_count: usize,
    /// Messages that were not shown.
    pub(super) lost: u64,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Shown {
    pub(super) topic: Arc<str>,
    /// At most [`PAYLOAD_BYTES_MAX`] of it.
    pub(super) payload: String,
    pub(super) encoding: Encoding,
    pub(super) truncated: bool,
    /// Of the whole payload.
    pub(super) bytes: usize,
    pub(super) qos: u8,
    pub(super) retain: bool,
    pub(super) count: u64,
    /// Messages in a second, lately.
    pub(super) rate: f64,
    pub(super) at: DateTime<Utc>,
}

impl Topics {
    pub(super) fn new(began: DateTime<Utc>) -> Self {
        Self {
            began,
            topics: HashMap::new(),
            changed: VecDeque::new(),
            bytes: 0,
            lost: 0,
            // An empty first batch says that the watching began.
            is_news: true,
        }
    }

    pub(super) fn see(&mut self, seen: Seen, now: DateTime<Utc>) {
        match seen {
            Seen::Message(message) => self.see_message(&message, now),
            Seen::Lost(n) => self.lose(n),
        }
    }

    fn lose(&mut self, n: u64) {
        self.lost = self.lost.saturating_add(n);
        self.is_news = true;
    }

    fn see_message(&mut self, message: &Message, now: DateTime<Utc>) {
        let topic = match self.topics.get_key_value(message.topic.as_str()) {
            Some((topic, _)) => topic.clone(),
            None if TOPICS_MAX <= self.topics.len() || TOPIC_BYTES_MAX < message.topic.len() => {
                return self.lose(1);
            }
            None => {
                self.bytes += message.topic.len();
                Arc::from(message.topic.as_str())
            }
        };
        let began = self.began;
        let entry = self
            .topics
            .entry(topic.clone())
            .or_insert_with(|| Entry::new(began, now));
        self.bytes -= entry.payload.len();
        let room = BYTES_MAX.saturating_sub(self.bytes).min(PAYLOAD_BYTES_MAX);
        let kept = message.payload.len().min(room);
        self.bytes += kept;
        // A copy: a slice would hold the whole message.
        entry.payload = message.payload[..kept].to_vec();
        entry.bytes = message.payload.len();
        (entry.qos, entry.retain, entry.at) = (message.qos, message.retain, now);
        entry.count += 1;
        entry.rate.count(now);
        if !entry.waits {
            entry.waits = true;
            self.changed.push_back(topic);
        }
    }

    /// What changed since the last time, up to a batch; `None` when nothing
    /// did. A topic that fell silent is among it once, with a rate of 0.
    pub(super) fn take(&mut self, now: DateTime<Utc>) -> Option<Batch> {
        for (topic, entry) in &mut self.topics {
            if entry.moved && !entry.waits && entry.rate.at(now) == 0.0 {
                entry.waits = true;
                self.changed.push_back(topic.clone());
            }
        }
        if self.changed.is_empty() && !self.is_news {
            return None;
        }
        self.is_news = false;
        let (mut topics, mut bytes) = (Vec::new(), 0);
        while bytes < BATCH_BYTES_MAX
            && let Some(topic) = self.changed.pop_front()
        {
            if let Some(entry) = self.topics.get_mut(&topic) {
                bytes += topic.len() + entry.payload.len();
                topics.push(entry.show(topic, now));
            }
        }
        Some(Batch {
            topics,
            topic_count: self.topics.len(),
            lost: self.lost,
        })
    }
}

impl Entry {
    fn new(began: DateTime<Utc>, now: DateTime<Utc>) -> Self {
        Self {
            payload: Vec::new(),
            bytes: 0,
            qos: 0,
            retain: false,
            count: 0,
            rate: Rate::new(began),
            at: now,
            waits: false,
            moved: false,
        }
    }

    fn show(&mut self, topic: Arc<str>, now: DateTime<Utc>) -> Shown {
        let rate = self.rate.at(now);
        self.waits = false;
        self.moved = 0.0 < rate;
        let truncated = self.payload.len() < self.bytes;
        let (payload, encoding) = readable(&self.payload, truncated);
        Shown {
            topic,
            payload,
            encoding,
            truncated,
            bytes: self.bytes,
            qos: self.qos,
            retain: self.retain,
            count: self.count,
            rate,
            at: self.at,
        }
    }
}

/// As text where it is text; a character that was cut in two does not count.
fn readable(payload: &[u8], truncated: bool) -> (String, Encoding) {
    match std::str::from_utf8(payload) {
        Ok(text) => (text.to_owned(), Encoding::Utf8),
        Err(error) if truncated && error.error_len().is_none() => {
            let text = String::from_utf8_lossy(&payload[..error.valid_up_to()]);
            (text.into_owned(), Encoding::Utf8)
        }
        Err(_) => (BASE64_STANDARD.encode(payload), Encoding::Base64),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn at(millis: i64) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(1_800_000_000_000 + millis).unwrap()
    }

    fn message(topic: &str, payload: &[u8]) -> Seen {
        Seen::Message(Message {
            topic: topic.to_owned(),
            payload: Bytes::copy_from_slice(payload),
            qos: 1,
            retain: true,
        })
    }

    /// All batches that are there.
    fn drain(topics: &mut Topics, now: DateTime<Utc>) -> (Vec<Shown>, usize, u64) {
        let (mut shown, mut last) = (Vec::new(), (0, 0));
        while let Some(batch) = topics.take(now) {
            shown.extend(batch.topics);
            last = (batch.topic_count, batch.lost);
        }
        (shown, last.0, last.1)
    }

    #[test]
    fn the_first_batch_comes_even_when_empty_and_then_only_changes() {
        let mut topics = Topics::new(at(0));
        let empty = Batch {
            topics: Vec::new(),
            topic_count: 0,
            lost: 0,
        };
        assert_eq!(topics.take(at(0)), Some(empty));
        assert_eq!(topics.take(at(500)), None);
        topics.see(message("a", b"1"), at(600));
        topics.see(message("b", b"2"), at(700));
        topics.see(message("a", b"3"), at(800));
        let (shown, count, lost) = drain(&mut topics, at(1000));
        let brief: Vec<_> = shown
            .iter()
            .map(|it| (&*it.topic, it.payload.as_str(), it.count, it.rate, it.at))
            .collect();
        assert_eq!(
            brief,
            [("a", "3", 2, 1.0, at(800)), ("b", "2", 1, 0.5, at(700))]
        );
        assert_eq!((count, lost), (2, 0));
        assert_eq!(
            (shown[0].qos, shown[0].retain, shown[0].bytes),
            (1, true, 1)
        );
        assert_eq!(topics.take(at(1500)), None);
        topics.see(message("b", b"4"), at(2000));
        let (shown, count, _) = drain(&mut topics, at(2000));
        assert_eq!(
            (shown.len(), &*shown[0].topic, shown[0].count, count),
            (1, "b", 2, 2)
        );
    }

    #[test]
    fn a_topic_that_fell_silent_is_told_once() {
        let mut topics = Topics::new(at(0));
        topics.see(message("a", b""), at(0));
        assert_eq!(drain(&mut topics, at(0)).0[0].rate, 1.0);
        assert_eq!(topics.take(at(9000)), None);
        let (shown, ..) = drain(&mut topics, at(20_000));
        assert_eq!((shown.len(), shown[0].rate, shown[0].count), (1, 0.0, 1));
        assert_eq!(topics.take(at(30_000)), None);
    }

    #[test]
    fn payloads_are_cut_and_readable() {
        let euro = "€".repeat(PAYLOAD_BYTES_MAX);
        let zeros = [0xff; PAYLOAD_BYTES_MAX + 1];
        let cases: [(&[u8], Encoding, usize, bool); 6] = [
            (b"", Encoding::Utf8, 0, false),
            ("ä\0".as_bytes(), Encoding::Utf8, 3, false),
            (&[0xe2, 0x82], Encoding::Base64, 4, false),
            (&[0xff, 0], Encoding::Base64, 4, false),
            // Cut inside a character, which is left out.
            (
                euro.as_bytes(),
                Encoding::Utf8,
                PAYLOAD_BYTES_MAX / 3 * 3,
                true,
            ),
            (
                &zeros,
                Encoding::Base64,
                PAYLOAD_BYTES_MAX.div_ceil(3) * 4,
                true,
            ),
        ];
        for (payload, encoding, length, truncated) in cases {
            let mut topics = Topics::new(at(0));
            topics.see(message("a", payload), at(0));
            let shown = drain(&mut topics, at(0)).0.remove(0);
            assert_eq!(
                (
                    shown.encoding,
                    shown.payload.len(),
                    shown.truncated,
                    shown.bytes
                ),
                (encoding, length, truncated, payload.len())
            );
        }
    }

    #[test]
    fn a_flood_is_bounded_and_counted() {
        let mut topics = Topics::new(at(0));
        let payload = [b'x'; PAYLOAD_BYTES_MAX];
        for n in 0..TOPICS_MAX + 100 {
            topics.see(message(&format!("{n:05}"), &payload), at(0));
        }
        topics.see(message(&"x".repeat(TOPIC_BYTES_MAX + 1), b""), at(0));
        topics.see(Seen::Lost(1000), at(0));
        assert!(
            topics.bytes <= BYTES_MAX + TOPICS_MAX * 5,
            "{}",
            topics.bytes
        );
        let first = topics.take(at(0)).unwrap();
        assert!(first.topics.len() < 200, "{}", first.topics.len());
        assert_eq!((first.topic_count, first.lost), (TOPICS_MAX, 1101));
        // One topic's flood in between holds up no other.
        for _ in 0..1000 {
            topics.see(message("00000", &payload), at(0));
        }
        let (rest, ..) = drain(&mut topics, at(0));
        assert_eq!(first.topics.len() + rest.len(), TOPICS_MAX + 1);
        assert_eq!(&*rest.last().unwrap().topic, "00000");
        // Where the room was used up a topic stays, without its payload.
        let without = rest.iter().filter(|it| it.payload.is_empty());
        assert!(
            without
                .clone()
                .all(|it| it.truncated && it.bytes == PAYLOAD_BYTES_MAX)
        );
        assert!(0 < without.count());
        // Smaller payloads give it back.
        for n in (0..TOPICS_MAX).chain(0..TOPICS_MAX) {
            topics.see(message(&format!("{n:05}"), b"y"), at(0));
        }
        assert_eq!(topics.bytes, TOPICS_MAX * 6);
        assert!(
            drain(&mut topics, at(0))
                .0
                .iter()
                .all(|it| it.payload == "y")
        );
    }
}
