//! The bodies that pass through: towards an instance, and back to the caller.
use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep, sleep_until};

use super::upstream::ResponseBody;

/// A request's body on its way to an instance, kept while it may be needed for
/// a second attempt.
#[derive(Clone)]
pub(crate) struct RequestBody {
    /// `None` for a request without a body, which can always be sent again.
    shared: Option<Arc<Mutex<Shared>>>,
    /// Bytes of the record that this attempt has sent already.
    attempt: u32,
    next: usize,
}

struct Shared {
    source: Incoming,
    idle_timeout: Duration,
    idle: Option<Pin<Box<Sleep>>>,
    /// Chunks taken from the source so far; `None` once they exceeded the bound.
    record: Option<Vec<Bytes>>,
    record_bytes: usize,
    record_bytes_max: usize,
    /// The attempt that may read; an older one gets an error.
    attempt: u32,
}

/// Why a request's body ended early.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyError {
    #[error("the client's body: {0}")]
    Client(#[from] hyper::Error),
    #[error("the client was silent too long")]
    Idle,
    #[error("another attempt has taken the body over")]
    TakenOver,
}

impl RequestBody {
    /// Keeps up to `record_bytes_max` for a second attempt.
    pub(crate) fn new(source: Incoming, record_bytes_max: usize, idle_timeout: Duration) -> Self {
        let shared = (!source.is_end_stream()).then(|| {
            Arc::new(Mutex::new(Shared {
                source,
                idle_timeout,
                idle: None,
                record: Some(Vec::new()),
                record_bytes: 0,
                record_bytes_max,
                attempt: 0,
            }))
        });
        Self {
            shared,
            attempt: 0,
            next: 0,
        }
    }

    pub(crate) fn empty() -> Self {
        Self {
            shared: None,
            attempt: 0,
            next: 0,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.shared.is_none()
    }

    /// The length, when the client said it.
    pub(crate) fn length(&self) -> Option<u64> {
        match &self.shared {
            None => Some(0),
            // Asked before the first chunk is taken, so what is left is all.
            Some(shared) => {
                let shared = lock(shared);
                let left = shared.source.size_hint().exact()?;
                Some(left + shared.record_bytes as u64)
            }
        }
    }

    /// The same body from its start, for another attempt; the previous attempt
    /// gets no more of it. `None` when the start is not kept any longer.
    pub(crate) fn again(&self) -> Option<Self> {
        let attempt = match &self.shared {
            None => 0,
            Some(shared) => {
                let mut shared = lock(shared);
                shared.record.as_ref()?;
                shared.attempt += 1;
                shared.attempt
            }
        };
        Some(Self {
            shared: self.shared.clone(),
            attempt,
            next: 0,
        })
    }

    /// Reads on, by at most `bytes_max` and while data comes, and throws it away:
    /// an answer sent over unread data may be lost with the connection.
    pub(crate) async fn drain(&mut self, bytes_max: usize) {
        let mut drained = 0;
        while let Some(Ok(frame)) = std::future::poll_fn(|cx| self.poll_frame(cx)).await {
            drained += frame.data_ref().map_or(0, Bytes::len);
            if bytes_max < drained {
                return;
            }
        }
    }

    pub(crate) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Some(shared) = &self.shared else {
            return Poll::Ready(None);
        };
        let mut shared = lock(shared);
        if shared.attempt != self.attempt {
            return Poll::Ready(Some(Err(BodyError::TakenOver)));
        }
        if let Some(chunk) = shared
            .record
            .as_ref()
            .and_then(|record| record.get(self.next))
        {
            self.next += 1;
            return Poll::Ready(Some(Ok(Frame::data(chunk.clone()))));
        }
        let polled = shared.poll_source(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            self.next += usize::from(frame.is_data());
        }
        polled
    }
}

impl Shared {
    fn poll_source(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match Pin::new(&mut self.source).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                self.idle = None;
                if let Some(data) = frame.data_ref() {
                    self.keep(data.clone());
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(error.into()))),
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => {
                let deadline = Instant::now() + self.idle_timeout;
                let idle = self
                    .idle
                    .get_or_insert_with(|| Box::pin(sleep_until(deadline)));
                idle.as_mut().poll(cx).map(|()| Some(Err(BodyError::Idle)))
            }
        }
    }

    fn keep(&mut self, data: Bytes) {
        self.record_bytes += data.len();
        if self.record_bytes_max < self.record_bytes {
            self.record = None;
        } else if let Some(record) = &mut self.record {
            record.push(data);
        }
    }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An answer's body: ours, or an instance's as it streams in.
pub(crate) enum AnswerBody {
    Own(Bytes),
    Upstream(ResponseBody),
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = super::upstream::UpstreamError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match self.get_mut() {
            Self::Own(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Own(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Self::Upstream(body) => body.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Own(bytes) => bytes.is_empty(),
            Self::Upstream(body) => body.is_done(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Own(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Upstream(body) => body.size_hint(),
        }
    }
}
