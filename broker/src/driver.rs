//! Runs one connection: polls the core, writes out what it left, and watches that the client takes it.
use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep};

use crate::{connection::Conn, stream::Pipe, window::Window};

/// For the last words of a connection.
const GOODBYE_TIMEOUT: Duration = Duration::from_secs(2);

pub(crate) struct Driver {
    core: Option<Pin<Box<dyn Future<Output = String> + Send>>>,
    result: String,
    conn: Arc<Conn>,
    pipe: Arc<dyn Pipe>,
    window: Arc<Window>,
    waker: Waker,
    write_timeout: Duration,
    /// Runs while the client takes nothing, with what it had taken when that began.
    stalled: Option<(Pin<Box<Sleep>>, u64)>,
}

impl Driver {
    pub(crate) fn new(
        core: impl Future<Output = String> + Send + 'static,
        conn: Arc<Conn>,
        pipe: Arc<dyn Pipe>,
        window: Arc<Window>,
        write_timeout: Duration,
    ) -> Self {
        Self {
            core: Some(Box::pin(core)),
            result: String::new(),
            waker: conn.waker(),
            conn,
            pipe,
            window,
            write_timeout,
            stalled: None,
        }
    }

    /// True while the client has not taken all, and is given time to.
    fn poll_stalled(&mut self, cx: &mut Context<'_>) -> bool {
        match self.pipe.poll_drain(cx) {
            Poll::Ready(Ok(())) => {
                self.stalled = None;
                return false;
            }
            Poll::Ready(Err(_)) => {
                self.conn.cut("connection lost");
                return false;
            }
            Poll::Pending => {}
        }
        let written = self.pipe.written();
        let timeout = self.write_timeout;
        let (clock, before) = self
            .stalled
            .get_or_insert_with(|| (Box::pin(sleep(timeout)), written));
        if written != *before {
            *before = written;
            clock.as_mut().reset(Instant::now() + timeout);
        }
        if clock.as_mut().poll(cx).is_ready() {
            self.conn.cut("the client does not read");
            return false;
        }
        true
    }
}

impl Future for Driver {
    /// What the core says of the connection's end.
    type Output = String;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<String> {
        let this = &mut *self;
        this.conn.meter.begin(cx.waker());
        let waker = this.waker.clone();
        let mut cx = Context::from_waker(&waker);
        if let Some(core) = &mut this.core
            && let Poll::Ready(result) = core.as_mut().poll(&mut cx)
        {
            this.core = None;
            this.result = result;
            this.write_timeout = this.write_timeout.min(GOODBYE_TIMEOUT);
            this.stalled = None;
        }
        let stalled = !this.conn.is_cut() && this.poll_stalled(&mut cx);
        if this.core.is_none() && !stalled {
            let _ = this.pipe.poll_close(&mut cx); // a courtesy; dropping closes
            return Poll::Ready(std::mem::take(&mut this.result));
        }
        if !stalled {
            this.conn.note_idle(&this.window);
            this.conn.meter.rest();
        }
        Poll::Pending
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.conn.meter.end();
    }
}
