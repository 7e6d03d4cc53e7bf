//! A client's socket as the core sees it: the CONNECT comes first once more, and what is written is gathered until the
//! core has nothing left to do, so that a batch of messages is one system call.
use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, ready},
};

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use mqtt5::broker::transport::WebSocketTransport;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::{
    connection::Conn,
    events::Protocol,
    frames::{Cursor, Malformed, put_publish},
    lock,
};

/// When so much waits, the core has to wait too.
const GATHERED_MAX: usize = 64 << 10;

/// Shared by the core, which reads and writes, and the driver, which writes out.
pub(crate) struct Link<S> {
    conn: Arc<Conn>,
    socket: Mutex<Socket<S>>,
}

struct Socket<S> {
    inner: S,
    /// Read before anything from the socket.
    head: Bytes,
    gathered: BytesMut,
    unflushed: bool,
    /// Bytes ever taken by the socket.
    written: u64,
}

/// The driver's side.
pub(crate) trait Pipe: Send + Sync {
    /// Writes out what was gathered; ready when the socket has taken all.
    fn poll_drain(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
    fn poll_close(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
    /// Bytes that the socket has ever taken.
    fn written(&self) -> u64;
}

impl<S: AsyncRead + AsyncWrite + Unpin> Link<S> {
    pub(crate) fn new(conn: Arc<Conn>, inner: S, head: Bytes) -> Arc<Self> {
        let socket = Socket {
            inner,
            head,
            gathered: BytesMut::new(),
            unflushed: false,
            written: 0,
        };
        Arc::new(Self {
            conn,
            socket: Mutex::new(socket),
        })
    }

    fn check(&self) -> io::Result<()> {
        if self.conn.is_cut() {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        Ok(())
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Socket<S> {
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.gathered.is_empty() {
            let written = ready!(Pin::new(&mut self.inner).poll_write(cx, &self.gathered))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.gathered.advance(written);
            self.written = self.written.wrapping_add(written as u64);
            self.unflushed = true;
        }
        if self.gathered.capacity() > GATHERED_MAX {
            self.gathered = BytesMut::new();
        }
        if self.unflushed {
            ready!(Pin::new(&mut self.inner).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Pipe for Link<S> {
    fn poll_drain(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        lock(&self.socket).poll_drain(cx)
    }

    fn poll_close(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut lock(&self.socket).inner).poll_shutdown(cx)
    }

    fn written(&self) -> u64 {
        lock(&self.socket).written
    }
}

/// The core's side.
pub(crate) struct CoreStream<S>(pub(crate) Arc<Link<S>>);

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for CoreStream<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.0.check()?;
        let mut socket = lock(&self.0.socket);
        if socket.head.is_empty() {
            return Pin::new(&mut socket.inner).poll_read(cx, buf);
        }
        let count = buf.remaining().min(socket.head.len());
        buf.put_slice(&socket.head.split_to(count));
        if socket.head.is_empty() {
            socket.head = Bytes::new(); // lets go of the packet
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for CoreStream<S> {
    /// The core writes packet by packet, and a packet is taken whole or not at all.
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        packet: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.check()?;
        let mut socket = lock(&self.0.socket);
        if socket.gathered.len() >= GATHERED_MAX {
            ready!(socket.poll_drain(cx))?;
        }
        if outgoing(packet, &self.0.conn, &mut socket.gathered).is_err() {
            socket.gathered.put_slice(packet);
        }
        Poll::Ready(Ok(packet.len()))
    }

    /// The driver does it, when the core rests.
    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.0.check())
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> WebSocketTransport for CoreStream<S> {
    fn peer_addr(&self) -> mqtt5::Result<SocketAddr> {
        Ok(self.0.conn.peer)
    }
}

/// Notes what the core says, and corrects it where it differs from what the client should see.
fn outgoing(packet: &[u8], conn: &Conn, out: &mut BytesMut) -> Result<(), Malformed> {
    let mut cursor = Cursor::new(packet);
    let first = cursor.byte()?;
    match first >> 4 {
        2 => {
            cursor.length()?;
            cursor.byte()?;
            conn.note_connack(cursor.byte()?);
        }
        3 => {
            if first & 0b110 != 0 {
                conn.note_sent();
            }
            if conn.protocol == Protocol::V5 {
                put_publish(packet, out);
                return Ok(());
            }
        }
        7 => {
            cursor.length()?;
            conn.finish_exact(cursor.u16()?);
        }
        14 => {
            let code = cursor.sized()?.first().copied().unwrap_or_default();
            let code = conn.note_disconnect(code);
            if conn.protocol == Protocol::V5 {
                out.put_slice(&[0xe0, 2, code, 0]);
            }
            return Ok(()); // in 3.1.1 a server just closes
        }
        _ => {}
    }
    out.put_slice(packet);
    Ok(())
}
