//! One connection from its first byte to its end.
use std::{net::SocketAddr, sync::Arc};

use bytes::{Bytes, BytesMut};
use mqtt5::{
    MqttError,
    broker::{client_handler::ClientHandler, transport::BrokerTransport},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt as _},
    sync::broadcast,
    time::timeout,
};

use crate::{
    auth::{Attempt, Grant, Refusal},
    broker::{Broker, Inner},
    connect::{self, Connect, ConnectError, core_id},
    connection::Conn,
    driver::Driver,
    events::{Protocol, Refused, RefusedReason},
    hooks::Gate,
    stream::{CoreStream, Link, Pipe},
    tenant::{Lease, SCOPE, Scope, Tenant},
    window::Meter,
};

impl Broker {
    /// Serves one connection to its end. The stream is past its TLS and WebSocket handshakes.
    pub async fn serve<S>(&self, stream: S, peer: SocketAddr)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        self.serve_pending(stream, peer, ()).await;
    }

    /// As `serve`; lets go of `pending` when the client has been authenticated.
    pub(crate) async fn serve_pending<S, P>(&self, mut stream: S, peer: SocketAddr, pending: P)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let inner = &self.0;
        let patience = inner.settings.limits.connect_timeout;
        let (connect, rest) = match timeout(patience, connect::read(&mut stream)).await {
            Ok(Ok(read)) => read,
            Ok(Err(ConnectError::Version(level))) => {
                inner.count_refusal(RefusedReason::ProtocolVersion);
                let protocol = if level > 5 {
                    Protocol::V5
                } else {
                    Protocol::V311
                };
                let answer = connect::refusal(protocol, 0x01, 0x84);
                return refuse(stream, &answer, inner).await;
            }
            Ok(Err(ConnectError::Gone | ConnectError::Malformed)) | Err(_) => return,
        };
        let admitted = admit(inner, connect, peer).await;
        drop(pending);
        match admitted {
            Ok(admitted) => admitted.run(inner, stream, rest).await,
            Err(answer) => refuse(stream, &answer, inner).await,
        }
    }
}

/// Says no and closes; a client that does not listen is not waited for.
async fn refuse<S: AsyncWrite + Unpin>(mut stream: S, answer: &[u8], inner: &Inner) {
    let saying = async {
        stream.write_all(answer).await?;
        stream.shutdown().await
    };
    timeout(inner.settings.limits.connect_timeout, saying)
        .await
        .ok();
}

/// A connection that has its place in a tenant.
struct Admitted {
    conn: Arc<Conn>,
    tenant: Lease,
    stop: broadcast::Receiver<()>,
    /// For the core.
    connect: BytesMut,
}

/// Decides about a CONNECT; the error is the answer to the client.
async fn admit(inner: &Inner, connect: Connect, peer: SocketAddr) -> Result<Admitted, Vec<u8>> {
    let kicks = inner.kicks();
    let mut tenant = None;
    let admitted = match authenticate(inner, &connect, peer) {
        Ok(grant) => {
            tenant = Some(grant.tenant);
            enter(inner, &connect, peer, grant).await
        }
        Err(reason) => Err(reason),
    };
    let admitted = admitted.and_then(|admitted| {
        if inner.kicks() != kicks
            && let Err(reason) = authenticate(inner, &connect, peer)
        {
            admitted.tenant.remove(admitted.conn.id);
            return Err(reason);
        }
        Ok(admitted)
    });
    admitted.map_err(|reason| {
        inner.count_refusal(reason);
        inner.events.refused(&Refused {
            tenant,
            username: &connect.username,
            client_id: &connect.client_id,
            peer,
            reason,
        });
        let (v311_code, v5_code) = codes(reason);
        connect::refusal(connect.protocol, v311_code, v5_code)
    })
}

fn codes(reason: RefusedReason) -> (u8, u8) {
    match reason {
        RefusedReason::BadCredentials => (4, 0x86),
        RefusedReason::NotAuthorized => (5, 0x87),
        RefusedReason::Busy => (3, 0x89),
        RefusedReason::TooManyConnections | RefusedReason::TooManySessions => (3, 0x97),
        RefusedReason::Storage | RefusedReason::ShuttingDown => (3, 0x88),
        RefusedReason::ProtocolVersion | RefusedReason::Protocol => (1, 0x84),
    }
}

fn authenticate(
    inner: &Inner,
    connect: &Connect,
    peer: SocketAddr,
) -> Result<Grant, RefusedReason> {
    if inner.stopping.is_cancelled() {
        return Err(RefusedReason::ShuttingDown);
    }
    let attempt = Attempt {
        username: &connect.username,
        password: &connect.password,
        client_id: &connect.client_id,
        peer,
    };
    let decided = inner.authenticator.authenticate(&attempt);
    decided.map_err(|refusal| match refusal {
        Refusal::BadCredentials => RefusedReason::BadCredentials,
        Refusal::NotAuthorized => RefusedReason::NotAuthorized,
        Refusal::Busy => RefusedReason::Busy,
    })
}

async fn enter(
    inner: &Inner,
    connect: &Connect,
    peer: SocketAddr,
    grant: Grant,
) -> Result<Admitted, RefusedReason> {
    let tenant = inner.tenants.lease(grant.tenant).await.map_err(|error| {
        tracing::error!(tenant = %grant.tenant, %error, "a tenant's storage cannot be opened");
        RefusedReason::Storage
    })?;
    let core_id = core_id(&connect.client_id).into_owned();
    let (stop, stopped) = broadcast::channel(1);
    let inflight = inner.settings.limits.inflight;
    let conn = Arc::new(Conn {
        id: inner.next_id(),
        tenant: grant.tenant,
        username: connect.username.clone(),
        client_id: connect.client_id.clone(),
        peer,
        protocol: connect.protocol,
        rules: grant.rules,
        receive_maximum: usize::from(inflight.min(connect.receive_maximum)).max(1),
        meter: Meter::new(Arc::clone(&tenant.window)),
        stop,
        state: crate::connection::State::default(),
    });
    conn.note_idle(&tenant.window); // nothing of the past waits for it
    tenant.add(&conn)?;
    // Who stops or removes ends those that it finds; this one may have come just after.
    if tenant.closing.is_cancelled() || inner.stopping.is_cancelled() {
        tenant.remove(conn.id);
        return Err(RefusedReason::ShuttingDown);
    }
    if connect.persistent
        && let Err(reason) = tenant.begin_session(&core_id).await
    {
        tenant.remove(conn.id);
        return Err(reason);
    }
    Ok(Admitted {
        connect: connect.for_core(&core_id),
        conn,
        tenant,
        stop: stopped,
    })
}

impl Admitted {
    async fn run<S>(self, inner: &Inner, stream: S, rest: Bytes)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let Self {
            conn,
            tenant,
            stop,
            mut connect,
        } = self;
        let _place = Place(&tenant, conn.id);
        connect.extend_from_slice(&rest);
        let link = Link::new(Arc::clone(&conn), stream, connect.freeze());
        let transport = BrokerTransport::WebSocket(Box::new(CoreStream(Arc::clone(&link))));
        let handler = ClientHandler::new(
            transport,
            conn.peer,
            Arc::clone(&inner.config),
            Arc::clone(&tenant.router),
            Arc::new(Gate {
                conn: Arc::clone(&conn),
                tenant: Arc::clone(&tenant),
            }),
            Some(Arc::clone(&tenant.storage)),
            Arc::clone(&tenant.stats),
            Arc::clone(&tenant.monitor),
            stop,
        );
        let scope = Scope {
            tenant: Arc::clone(&tenant),
            conn: Some(Arc::clone(&conn)),
        };
        let core = SCOPE.scope(scope, async move { result(handler.run().await) });
        let result = Driver::new(
            core,
            Arc::clone(&conn),
            link as Arc<dyn Pipe>,
            Arc::clone(&tenant.window),
            inner.settings.limits.write_timeout,
        )
        .await;
        tell(inner, &conn, &result);
    }
}

/// Given back also when the task is dropped.
struct Place<'a>(&'a Arc<Tenant>, u64);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.remove(self.1);
    }
}

fn tell(inner: &Inner, conn: &Conn, result: &str) {
    if let Some(connection) = conn.accepted() {
        inner.events.disconnected(connection, &conn.reason(result));
        return;
    }
    let reason = match conn.refused() {
        0 => return, // gone before the answer
        5 | 0x87 => RefusedReason::NotAuthorized,
        3 | 0x88 => RefusedReason::Storage,
        _ => RefusedReason::Protocol,
    };
    inner.count_refusal(reason);
    inner.events.refused(&Refused {
        tenant: Some(conn.tenant),
        username: &conn.username,
        client_id: &conn.client_id,
        peer: conn.peer,
        reason,
    });
}

fn result(result: mqtt5::Result<()>) -> String {
    match result {
        Ok(()) | Err(MqttError::ClientClosed | MqttError::ConnectionClosedByPeer) => {
            "closed by the client without a DISCONNECT".to_owned()
        }
        Err(MqttError::KeepAliveTimeout) => "the client was silent for too long".to_owned(),
        Err(MqttError::PacketTooLarge { size, max }) => {
            format!("a packet of {size} bytes, {max} are allowed")
        }
        Err(MqttError::Io(_)) => "connection lost".to_owned(),
        Err(error) => error.to_string(),
    }
}
