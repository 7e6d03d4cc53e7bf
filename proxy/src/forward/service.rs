//! One request, from its head to the head of its answer.
use std::{borrow::Cow, sync::Arc, time::Duration};

use http::{HeaderValue, Method, Request, Response, StatusCode, header, request};
use hyper::{body::Incoming, upgrade::OnUpgrade};
use tokio::time::{Instant, timeout};
use uuid::Uuid;

use super::{
    body::{AnswerBody, RequestBody},
    headers::{self, Forwarded, Outgoing},
    instance::Visit,
    normal::{self, Host, percent_decode},
    request_id::request_id,
    upgrade,
    upstream::{self, Connection, Head, PoolKey, ResponseBody, Timeouts, UpstreamError},
};
use crate::{
    answer::{self, Refusal},
    context::Client,
    metrics::RequestClass,
    routes::{Destination, Guard},
};

/// What of a request's body is kept for a second attempt.
const REPLAY_BYTES_MAX: usize = 1024 * 1024;
/// What of an unwanted body is read, so that the answer over it arrives.
const DRAIN_BYTES_MAX: usize = 256 * 1024;
const DRAIN_TIME_MAX: Duration = Duration::from_secs(2);

/// A request under way.
pub(super) struct Call {
    pub(super) client: Arc<Client>,
    pub(super) parts: request::Parts,
    pub(super) body: RequestBody,
    pub(super) request_id: String,
    pub(super) is_https: bool,
    /// The protocol that the caller wants to upgrade to.
    pub(super) protocol: Option<HeaderValue>,
    pub(super) class: RequestClass,
    on_upgrade: Option<OnUpgrade>,
}

/// How a request is put to an upstream.
pub(super) struct Via<'a> {
    pub(super) prefix: &'a str,
    pub(super) target: &'a str,
    pub(super) identity: Option<&'a str>,
    pub(super) keep_our_cookies: bool,
    pub(super) keep_authorization: bool,
}

/// An answer's head, and the connection that its body comes on.
pub(super) type Exchange = (Head, Box<Connection>);

/// Answers one request; whatever goes wrong becomes an answer too.
pub(crate) async fn handle(
    client: Arc<Client>,
    mut request: Request<Incoming>,
) -> Response<AnswerBody> {
    let started = Instant::now();
    let on_upgrade = request.extensions_mut().remove::<OnUpgrade>();
    let (parts, body) = request.into_parts();
    let body = RequestBody::new(
        body,
        REPLAY_BYTES_MAX,
        client.shared.limits.client_idle_timeout,
    );
    let mut call = Call {
        request_id: request_id(&parts.headers),
        is_https: is_https(&client, &parts),
        protocol: upgrade::requested_protocol(&parts, !body.is_empty()),
        class: RequestClass::Other,
        client,
        parts,
        body,
        on_upgrade,
    };
    let response = match call.answer().await {
        Ok(response) => response,
        Err(refusal) => call.refuse(refusal).await,
    };
    let (status, latency) = (response.status().as_u16(), started.elapsed());
    call.client.metrics.answered(call.class, status, latency);
    tracing::debug!(
        request.id = call.request_id,
        host = ?call.parts.headers.get(header::HOST),
        method = %call.parts.method,
        path = call.parts.uri.path(), // never the query: it may hold a token
        status,
        latency_us = latency.as_micros() as u64,
        "answered"
    );
    response
}

fn is_https(client: &Client, parts: &request::Parts) -> bool {
    let said = || {
        parts
            .headers
            .get("x-forwarded-proto")
            .is_some_and(|proto| proto == "https")
    };
    client.is_tls || (client.is_trusted && said())
}

impl Call {
    async fn answer(&mut self) -> Result<Response<AnswerBody>, Refusal> {
        let host = normal::check(&self.parts)?;
        if let Some(redirect) = self.redirect_to_https(&host) {
            return Ok(redirect);
        }
        let table = self
            .client
            .shared
            .tables
            .current()
            .ok_or(Refusal::NoTable)?;
        match table.find(host.as_str()) {
            Destination::Dashboard(address) => self.dashboard(&host, address).await,
            Destination::Instance(route) => {
                let (table, route) = (Arc::clone(&table), Arc::clone(route));
                Visit::new(self, &host, table, route).answer().await
            }
            Destination::Unknown => Err(Refusal::UnknownHost),
        }
    }

    fn redirect_to_https(&self, host: &Host) -> Option<Response<AnswerBody>> {
        let port = self
            .client
            .shared
            .redirect_to_port
            .filter(|_| !self.is_https)?;
        let port = if port == 443 {
            String::new()
        } else {
            format!(":{port}")
        };
        let location = format!("https://{}{port}{}", host.as_str(), self.target());
        Some(answer::redirect(StatusCode::PERMANENT_REDIRECT, &location))
    }

    /// The dashboard and API, without the paths that are for our own programs.
    async fn dashboard(
        &mut self,
        host: &Host,
        address: std::net::SocketAddr,
    ) -> Result<Response<AnswerBody>, Refusal> {
        self.class = RequestClass::Dashboard;
        let path = percent_decode(self.parts.uri.path().as_bytes());
        let first = path
            .split(|&byte| byte == b'/')
            .find(|segment| !segment.is_empty());
        if first.is_some_and(|first| first.eq_ignore_ascii_case(b"internal")) {
            return Err(Refusal::NotFound);
        }
        let key = PoolKey {
            instance_id: Uuid::nil(),
            address,
        };
        let target = self.target().to_owned();
        let via = Via {
            prefix: "",
            target: &target,
            identity: None,
            keep_our_cookies: true,
            keep_authorization: true,
        };
        let exchange = self
            .send(key, host, via)
            .await
            .map_err(|error| match error {
                UpstreamError::Connect(_) | UpstreamError::ConnectTimeout => Refusal::DashboardAway,
                error => error.into(),
            })?;
        self.accept(exchange, None)
    }

    /// Path and query.
    pub(super) fn target(&self) -> &str {
        self.parts
            .uri
            .path_and_query()
            .map_or("/", |target| target.as_str())
    }

    /// Sends the request, from the start of its body.
    pub(super) async fn send(
        &self,
        key: PoolKey,
        host: &Host,
        via: Via<'_>,
    ) -> Result<Exchange, UpstreamError> {
        let body = self.body.again().ok_or(UpstreamError::Incomplete)?;
        let limits = &self.client.shared.limits;
        let timeouts = Timeouts {
            connect: limits.connect_timeout,
            response: limits.response_timeout,
        };
        let host = self.host_text(host);
        let forwarded = self.forwarded(&host);
        let outgoing = Outgoing {
            parts: &self.parts,
            prefix: via.prefix,
            target: via.target,
            host: &host,
            forwarded: &forwarded,
            request_id: &self.request_id,
            identity: via.identity,
            keep_our_cookies: via.keep_our_cookies,
            keep_authorization: via.keep_authorization,
            upgrade: self.protocol.as_ref(),
        };
        upstream::send(
            key,
            &self.parts.method,
            body,
            |out| outgoing.write(out),
            timeouts,
        )
        .await
    }

    /// As the caller wrote it, unless the normal form differs.
    fn host_text(&self, host: &Host) -> Cow<'_, str> {
        let header = || self.parts.headers.get(header::HOST)?.to_str().ok();
        let authority = || {
            self.parts
                .uri
                .authority()
                .map(|authority| authority.as_str())
        };
        match header().or_else(authority) {
            Some(text) if !host.rewritten => Cow::Borrowed(text),
            _ => Cow::Owned(host.to_string()),
        }
    }

    fn forwarded<'a>(&'a self, host: &'a str) -> Forwarded<'a> {
        let said = |name: &str| self.parts.headers.get(name)?.to_str().ok();
        let mut forwarded = Forwarded {
            client: Cow::Borrowed(&self.client.peer),
            host,
            is_https: self.is_https,
            trusted: self.client.is_trusted,
        };
        if self.client.is_trusted {
            if let Some(before) = said("x-forwarded-for") {
                forwarded.client = Cow::Owned(format!("{before}, {}", self.client.peer));
            }
            if let Some(host) =
                said("x-forwarded-host").filter(|host| Host::parse(host.as_bytes()).is_some())
            {
                forwarded.host = host;
            }
        }
        forwarded
    }

    /// Turns an upstream's answer into ours; a `101` begins a tunnel.
    pub(super) fn accept(
        &mut self,
        (mut head, connection): Exchange,
        guard: Option<Guard>,
    ) -> Result<Response<AnswerBody>, Refusal> {
        let from_instance = connection.is_to_instance();
        let upgrade = head.headers.get(header::UPGRADE).cloned();
        headers::clean_answer(&mut head.headers, from_instance, head.body.is_chunked());
        if head.status == StatusCode::SWITCHING_PROTOCOLS {
            return self.switch(head, connection, upgrade, guard);
        }
        let idle_timeout = self.client.shared.limits.response_idle_timeout;
        let mut body = ResponseBody::new(connection, &head, idle_timeout);
        if let Some(guard) = guard {
            body = body.guarded_by(guard);
        }
        let kind = head.headers.get(header::CONTENT_TYPE);
        if kind.is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream")) {
            body = body.until(self.client.shared.stopping.clone());
        }
        let mut response = Response::new(AnswerBody::Upstream(body));
        *response.status_mut() = head.status;
        *response.headers_mut() = head.headers;
        Ok(response)
    }

    fn switch(
        &mut self,
        head: Head,
        connection: Box<Connection>,
        upgrade: Option<HeaderValue>,
        guard: Option<Guard>,
    ) -> Result<Response<AnswerBody>, Refusal> {
        let (Some(on_upgrade), Some(asked)) = (self.on_upgrade.take(), self.protocol.clone())
        else {
            return Err(UpstreamError::Closed.into()); // nobody asked for it
        };
        let (instance, early) = connection.into_stream();
        let (client, stopping) = (
            Arc::clone(&self.client),
            self.client.shared.stopping.clone(),
        );
        self.client.tasks.spawn(async move {
            client.metrics.tunnel_opened();
            upgrade::tunnel(on_upgrade, instance, early, guard, stopping).await;
            client.metrics.tunnel_closed();
        });
        let mut response = Response::new(AnswerBody::Own(bytes::Bytes::new()));
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        *response.headers_mut() = head.headers;
        let headers = response.headers_mut();
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, upgrade.unwrap_or(asked));
        Ok(response)
    }

    /// Reads an answer that nobody will see, so that its connection can be used
    /// again; closes the connection when that would take long.
    pub(super) async fn discard(&self, (head, connection): Exchange) {
        if connection.is_request_sent() && head.status != StatusCode::SWITCHING_PROTOCOLS {
            let mut body = ResponseBody::new(connection, &head, DRAIN_TIME_MAX);
            timeout(DRAIN_TIME_MAX, body.drain(DRAIN_BYTES_MAX))
                .await
                .ok();
        }
    }

    async fn refuse(&mut self, refusal: Refusal) -> Response<AnswerBody> {
        if let Refusal::Upstream(error) = &refusal {
            tracing::info!(request.id = self.request_id, %error, "an upstream did not answer");
        }
        let expects = self.parts.headers.contains_key(header::EXPECT);
        if !self.body.is_empty() && !expects {
            let mut rest = self.body.again().unwrap_or_else(|| self.body.clone());
            timeout(DRAIN_TIME_MAX, rest.drain(DRAIN_BYTES_MAX))
                .await
                .ok();
        }
        refusal.respond(&self.parts.headers, &self.request_id)
    }

    /// Whether this only reads, as a person's navigation does.
    pub(super) fn is_reading(&self) -> bool {
        matches!(self.parts.method, Method::GET | Method::HEAD)
    }
}
