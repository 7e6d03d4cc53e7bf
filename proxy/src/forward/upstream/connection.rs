//! One HTTP/1.1 connection to an instance, driven by the task that uses it.
//!
//! Always holds: a connection goes back to the pool only after its request was
//! sent and its answer read to the last byte; in any other case it is closed.
use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Buf, Bytes, BytesMut};
use http::{Method, StatusCode};
use http_body::{Frame, SizeHint};
use tokio::{
    io::AsyncWrite,
    net::TcpStream,
    time::{Instant, Sleep, sleep_until},
};
use tokio_util::{
    io::poll_read_buf,
    sync::{CancellationToken, WaitForCancellationFutureOwned},
};

use super::{
    UpstreamError,
    decode::{BodyDecoder, Head, Piece, take_head},
    pool::{self, PoolKey},
};
use crate::{
    forward::{body::RequestBody, headers},
    routes::Guard,
};

const READ_BYTES_MIN: usize = 8 * 1024;
const READ_BYTES_MAX: usize = 128 * 1024;
const WRITE_BYTES_MAX: usize = 64 * 1024;
/// Interim answers (100, 103) before the real one.
const INTERIM_MAX: u32 = 16;

pub(crate) struct Connection {
    io: TcpStream,
    pub(super) key: PoolKey,
    /// It has carried an earlier request.
    pub(super) reused: bool,
    pub(super) idle_since: Instant,
    /// Serves every wait; resetting it is cheaper than making a new one.
    timer: Pin<Box<Sleep>>,
    read: BytesMut,
    read_size: usize,
    write: BytesMut,
    request: RequestBody,
    encoding: Encoding,
    /// Bytes of the current request that left this program.
    written: u64,
    send_failed: bool,
    response_timeout: Duration,
}

/// How the rest of the request's body is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Encoding {
    Done,
    Length(u64),
    Chunked,
}

impl Connection {
    pub(super) fn new(io: TcpStream, key: PoolKey) -> Self {
        let now = Instant::now();
        Self {
            io,
            key,
            reused: false,
            idle_since: now,
            timer: Box::pin(sleep_until(now)),
            read: BytesMut::with_capacity(READ_BYTES_MIN),
            read_size: READ_BYTES_MIN,
            write: BytesMut::with_capacity(2048),
            request: RequestBody::empty(),
            encoding: Encoding::Done,
            written: 0,
            send_failed: false,
            response_timeout: Duration::ZERO,
        }
    }

    /// Starts a request. `write_head` writes the head up to its framing.
    pub(super) fn begin(
        &mut self,
        method: &Method,
        request: RequestBody,
        write_head: impl FnOnce(&mut BytesMut),
        response_timeout: Duration,
    ) {
        self.written = 0;
        self.send_failed = false;
        self.write.clear();
        write_head(&mut self.write);
        self.encoding = match request.length() {
            _ if request.is_empty() => Encoding::Done,
            Some(length) => Encoding::Length(length),
            None => Encoding::Chunked,
        };
        headers::write_framing(
            &mut self.write,
            method,
            request.is_empty(),
            request.length(),
        );
        self.request = request;
        self.response_timeout = response_timeout;
        self.timer.as_mut().reset(Instant::now() + response_timeout);
    }

    /// The request may be sent again on another connection without being
    /// carried out twice.
    pub(super) fn nothing_sent(&self) -> bool {
        self.written == 0
    }

    pub(crate) fn is_request_sent(&self) -> bool {
        self.encoding == Encoding::Done && self.write.is_empty()
    }

    pub(crate) fn is_to_instance(&self) -> bool {
        !self.key.instance_id.is_nil()
    }

    /// Still open, with nothing unasked-for to read.
    pub(super) fn is_idle(&mut self) -> bool {
        let mut context = Context::from_waker(std::task::Waker::noop());
        self.read.is_empty()
            && poll_read_buf(Pin::new(&mut self.io), &mut context, &mut self.read).is_pending()
    }

    /// Sends the request and waits for the answer's head.
    pub(super) fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        method: &Method,
    ) -> Poll<Result<Head, UpstreamError>> {
        let mut interim = 0;
        self.poll_send(cx)?;
        loop {
            while let Some(head) = take_head(&mut self.read, method)? {
                if !head.status.is_informational() || head.status == StatusCode::SWITCHING_PROTOCOLS
                {
                    return Poll::Ready(Ok(head));
                }
                interim += 1;
                if INTERIM_MAX < interim {
                    return Poll::Ready(Err(UpstreamError::Closed));
                }
            }
            match self.poll_read(cx) {
                Poll::Ready(Ok(0)) | Poll::Ready(Err(_)) if self.read.is_empty() => {
                    return Poll::Ready(Err(UpstreamError::Closed));
                }
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(UpstreamError::Incomplete)),
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(UpstreamError::Io(error))),
                Poll::Pending => {
                    return self
                        .timer
                        .as_mut()
                        .poll(cx)
                        .map(|()| Err(UpstreamError::Timeout));
                }
            }
        }
    }

    /// Sends as much of the request as goes. Only the client's failures are
    /// errors: an instance that stops reading may still have answered.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Result<(), UpstreamError> {
        while !self.send_failed {
            let waits_for_body = self.fill(cx)?;
            if self.write.is_empty() {
                break;
            }
            match Pin::new(&mut self.io).poll_write(cx, &self.write) {
                Poll::Ready(Ok(0)) | Poll::Ready(Err(_)) => self.send_failed = true,
                Poll::Ready(Ok(count)) => {
                    self.written += count as u64;
                    self.write.advance(count);
                    if self.encoding != Encoding::Done {
                        // A long upload is no silence of the instance.
                        self.timer
                            .as_mut()
                            .reset(Instant::now() + self.response_timeout);
                    }
                }
                Poll::Pending => break,
            }
            if self.write.is_empty() && (waits_for_body || self.encoding == Encoding::Done) {
                break;
            }
        }
        Ok(())
    }

    /// Moves body frames into the write buffer; true when the client has to
    /// send more first.
    fn fill(&mut self, cx: &mut Context<'_>) -> Result<bool, UpstreamError> {
        while self.encoding != Encoding::Done && self.write.len() < WRITE_BYTES_MAX {
            match self.request.poll_frame(cx) {
                Poll::Pending => return Ok(true),
                Poll::Ready(Some(Err(error))) => return Err(UpstreamError::Request(error)),
                Poll::Ready(Some(Ok(frame))) => self.encode(frame)?,
                Poll::Ready(None) => {
                    match self.encoding {
                        Encoding::Chunked => self.write.extend_from_slice(b"0\r\n\r\n"),
                        Encoding::Length(0) | Encoding::Done => {}
                        Encoding::Length(_) => return Err(UpstreamError::Incomplete),
                    }
                    self.encoding = Encoding::Done;
                }
            }
        }
        Ok(false)
    }

    fn encode(&mut self, frame: Frame<Bytes>) -> Result<(), UpstreamError> {
        match (frame.into_data(), self.encoding) {
            (Ok(data), Encoding::Chunked) if !data.is_empty() => {
                let size = format!("{:x}\r\n", data.len());
                self.write.extend_from_slice(size.as_bytes());
                self.write.extend_from_slice(&data);
                self.write.extend_from_slice(b"\r\n");
            }
            (Ok(data), Encoding::Length(left)) => {
                let left = left
                    .checked_sub(data.len() as u64)
                    .ok_or(UpstreamError::Incomplete)?;
                self.write.extend_from_slice(&data);
                self.encoding = if left == 0 {
                    Encoding::Done
                } else {
                    Encoding::Length(left)
                };
            }
            (Err(frame), Encoding::Chunked) => {
                self.write.extend_from_slice(b"0\r\n");
                if let Ok(trailers) = frame.into_trailers() {
                    headers::write_trailers(&mut self.write, &trailers);
                }
                self.write.extend_from_slice(b"\r\n");
                self.encoding = Encoding::Done;
            }
            _ => {}
        }
        Ok(())
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.read.capacity() - self.read.len() < READ_BYTES_MIN / 8 {
            self.read.reserve(self.read_size);
        }
        let spare = self.read.capacity() - self.read.len();
        let polled = poll_read_buf(Pin::new(&mut self.io), cx, &mut self.read);
        if matches!(polled, Poll::Ready(Ok(count)) if count == spare) {
            self.read_size = (self.read_size * 2).min(READ_BYTES_MAX);
        }
        polled
    }

    /// Back to the pool, when nothing is left over from this request.
    fn release(mut self: Box<Self>, keep_alive: bool) {
        let clean =
            self.read.is_empty() && self.write.is_empty() && self.encoding == Encoding::Done;
        if keep_alive && clean && !self.send_failed {
            self.request = RequestBody::empty();
            if READ_BYTES_MIN < self.read_size {
                self.read_size = READ_BYTES_MIN;
                self.read = BytesMut::new();
            }
            pool::put(self);
        }
    }

    /// The bare stream after `101`, and what was read past the head.
    pub(crate) fn into_stream(self) -> (TcpStream, Bytes) {
        (self.io, self.read.freeze())
    }
}

/// An answer's body as it streams in from an instance.
pub(crate) struct ResponseBody {
    /// `None` once the body has ended.
    connection: Option<Box<Connection>>,
    decoder: BodyDecoder,
    keep_alive: bool,
    idle_timeout: Duration,
    waiting: bool,
    guard: Option<Guard>,
    /// Ends the stream although its right holds.
    stopping: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
}

impl ResponseBody {
    pub(crate) fn new(connection: Box<Connection>, head: &Head, idle_timeout: Duration) -> Self {
        let mut body = Self {
            connection: Some(connection),
            decoder: head.body,
            keep_alive: head.keep_alive,
            idle_timeout,
            waiting: false,
            guard: None,
            stopping: None,
        };
        if head.body == BodyDecoder::Done {
            body.finish();
        }
        body
    }

    /// Ends the stream when the right it was opened with is gone.
    pub(crate) fn guarded_by(mut self, guard: Guard) -> Self {
        self.guard = Some(guard);
        self
    }

    /// Ends the stream when the program stops; for streams without an end of
    /// their own, which nobody should wait for.
    pub(crate) fn until(mut self, stopping: CancellationToken) -> Self {
        self.stopping = Some(Box::pin(stopping.cancelled_owned()));
        self
    }

    pub(crate) fn is_done(&self) -> bool {
        self.connection.is_none()
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        match (self.is_done(), self.decoder) {
            (true, _) => SizeHint::with_exact(0),
            (false, BodyDecoder::Length(left)) => SizeHint::with_exact(left),
            (false, _) => SizeHint::new(),
        }
    }

    /// Reads on and throws away at most `bytes_max`, so that the connection can
    /// be used again.
    pub(crate) async fn drain(&mut self, bytes_max: usize) {
        let mut drained = 0;
        while let Some(Ok(frame)) = std::future::poll_fn(|cx| self.poll_frame(cx)).await {
            drained += frame.data_ref().map_or(0, Bytes::len);
            if bytes_max < drained {
                self.connection = None;
            }
        }
    }

    pub(crate) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UpstreamError>>> {
        let Some(connection) = &mut self.connection else {
            return Poll::Ready(None);
        };
        let polled = loop {
            if let Err(error) = connection.poll_send(cx) {
                break Poll::Ready(Some(Err(error)));
            }
            match self.decoder.take(&mut connection.read) {
                Ok(Piece::Data(data)) => break Poll::Ready(Some(Ok(Frame::data(data)))),
                Ok(Piece::Trailers(trailers)) => {
                    break Poll::Ready(Some(Ok(Frame::trailers(headers::safe_trailers(trailers)))));
                }
                Ok(Piece::Done) => break Poll::Ready(None),
                Ok(Piece::Partial) => {}
                Err(error) => break Poll::Ready(Some(Err(error.into()))),
            }
            match connection.poll_read(cx) {
                Poll::Ready(Ok(0)) if self.decoder == BodyDecoder::UntilClose => {
                    break Poll::Ready(None);
                }
                Poll::Ready(Ok(0)) => break Poll::Ready(Some(Err(UpstreamError::Incomplete))),
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => break Poll::Ready(Some(Err(UpstreamError::Io(error)))),
                Poll::Pending => break self.poll_patience(cx).map(|error| Some(Err(error))),
            }
        };
        match &polled {
            Poll::Pending => {}
            Poll::Ready(Some(Ok(_))) => {
                self.waiting = false;
                if self.decoder == BodyDecoder::Done {
                    self.finish();
                }
            }
            Poll::Ready(None) => self.finish(),
            Poll::Ready(Some(Err(_))) => self.connection = None,
        }
        polled
    }

    /// While the instance is silent: has it been so for too long, or has the
    /// right to listen ended?
    fn poll_patience(&mut self, cx: &mut Context<'_>) -> Poll<UpstreamError> {
        if let Some(connection) = &mut self.connection {
            if !self.waiting {
                self.waiting = true;
                connection
                    .timer
                    .as_mut()
                    .reset(Instant::now() + self.idle_timeout);
            }
            if connection.timer.as_mut().poll(cx).is_ready() {
                return Poll::Ready(UpstreamError::Timeout);
            }
        }
        if let Some(stopping) = &mut self.stopping
            && stopping.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(UpstreamError::Stopping);
        }
        match &mut self.guard {
            Some(guard) => guard.poll_lost(cx).map(|()| UpstreamError::Revoked),
            None => Poll::Pending,
        }
    }

    fn finish(&mut self) {
        if let Some(connection) = self.connection.take() {
            connection.release(self.keep_alive);
        }
    }
}
