//! The way into an instance: webhooks, the editor, and Node-RED's `/api`.
use std::sync::Arc;

use http::{HeaderValue, Method, Response, StatusCode, header};
use openflow_route_api::{Engine, Key};

use super::{
    body::AnswerBody,
    normal::{Host, percent_encode},
    service::{Call, Exchange, Via},
    upstream::{PoolKey, UpstreamError},
};
use crate::{
    access::{self, Landing, LandingError, PathClass, SignedIn},
    answer::{self, Refusal, SIGN_OUT_PATH},
    clock::unix_now,
    metrics::RequestClass,
    routes::{CompiledRoute, Guard, Session, Table},
};

type Answer = Result<Response<AnswerBody>, Refusal>;

/// A request to an instance.
pub(super) struct Visit<'a> {
    call: &'a mut Call,
    host: &'a Host,
    table: Arc<Table>,
    route: Arc<CompiledRoute>,
}

impl<'a> Visit<'a> {
    pub(super) fn new(
        call: &'a mut Call,
        host: &'a Host,
        table: Arc<Table>,
        route: Arc<CompiledRoute>,
    ) -> Self {
        Self {
            call,
            host,
            table,
            route,
        }
    }

    pub(super) async fn answer(mut self) -> Answer {
        if self.route.served_by().is_none() {
            return Err(Refusal::NotServed(
                self.route.state,
                self.route.detail.clone(),
            ));
        }
        let parts = &self.call.parts;
        let class = PathClass::of(self.route.engine, parts.uri.path(), &parts.headers);
        self.call.class = match class {
            PathClass::Webhook => RequestClass::Webhook,
            _ => RequestClass::Editor,
        };
        match (class, self.route.identity_key.clone()) {
            (PathClass::Hidden, _) => Err(Refusal::NotFound),
            (PathClass::Health | PathClass::Keyed, _) => self.anonymously("").await,
            (PathClass::Webhook, _) => {
                access::check_webhook(&self.route.webhook, &self.call.parts.headers)?;
                self.anonymously("").await
            }
            (PathClass::Editor, None) => self.as_it_came().await,
            (PathClass::Editor, Some(key)) => self.editor(&key).await,
        }
    }

    /// Forwards without telling who asks.
    async fn anonymously(&mut self, prefix: &str) -> Answer {
        let exchange = self.send_anonymously(prefix).await?;
        self.accept(exchange, None)
    }

    async fn send_anonymously(&mut self, prefix: &str) -> Result<Exchange, UpstreamError> {
        let is_open = self.route.webhook.is_open();
        self.send(Via {
            prefix,
            target: self.call.target(),
            identity: None,
            keep_our_cookies: false,
            keep_authorization: is_open, // what we checked is ours
        })
        .await
    }

    /// For a route whose shim signs in by itself.
    async fn as_it_came(&mut self) -> Answer {
        let first = self
            .send(Via {
                prefix: "",
                target: self.call.target(),
                identity: None,
                keep_our_cookies: true,
                keep_authorization: true,
            })
            .await?;
        self.accept_or_try_api(first, None).await
    }

    async fn editor(&mut self, key: &Key) -> Answer {
        let (headers, now) = (&self.call.parts.headers, unix_now());
        let present = access::signed_in(&self.table, &self.route, headers, now);
        let landing = match self.call.is_reading() {
            true => access::take_access_token(self.call.target()),
            false => None,
        };
        match (landing, present) {
            (Some(landing), present) => self.land(landing, present, key).await,
            (None, Some(person)) => self.as_person(&person, key).await,
            (None, None) => self.as_stranger().await,
        }
    }

    /// `?access_token=`: redeem, set the cookie, and go on without the token.
    async fn land(&mut self, landing: Landing, present: Option<SignedIn>, key: &Key) -> Answer {
        // Asked for first: a token must not be used up for nothing.
        let keys = &self.table.access.cookie_keys;
        let cookie_key = keys.first().ok_or(Refusal::CannotRedeem)?;
        let manager = self.call.client.shared.manager.as_deref();
        let landed = access::land(&landing, &self.table, &self.route, manager, present).await;
        let person = landed.map_err(|error| match error {
            LandingError::Gone => Refusal::TokenGone {
                launch: self.launch_url(&landing.target),
            },
            LandingError::OtherPerson { signed_in, invited } => {
                Refusal::OtherPerson { signed_in, invited }
            }
            LandingError::CannotRedeem => Refusal::CannotRedeem,
        })?;
        let now = unix_now();
        let cookie =
            access::session_cookie(&person, &self.route, cookie_key, now, self.call.is_https);
        let cookie = HeaderValue::try_from(cookie).map_err(|_| Refusal::CannotRedeem)?;
        let mut response = if self.call.protocol.is_some() {
            let identity = person.identity(&self.route, key, now);
            let exchange = self.send_as(&identity, &landing.target).await?;
            self.accept(exchange, Some(person.session))?
        } else {
            answer::redirect(StatusCode::SEE_OTHER, &landing.target)
        };
        response.headers_mut().append(header::SET_COOKIE, cookie);
        Ok(response)
    }

    async fn as_person(&mut self, person: &SignedIn, key: &Key) -> Answer {
        let parts = &self.call.parts;
        let is_upgrade = self.call.protocol.is_some();
        let is_https = self.call.is_https;
        // Signing out is a change, by whichever method: another site's picture
        // must not do it.
        let signs_out =
            parts.uri.path() == SIGN_OUT_PATH && matches!(parts.method, Method::GET | Method::POST);
        let method = if signs_out {
            &Method::POST
        } else {
            &parts.method
        };
        if !access::is_own_page(method, &parts.headers, self.host, is_https, is_upgrade) {
            return Err(Refusal::CrossSite);
        }
        if signs_out {
            return Ok(self.sign_out());
        }
        let identity = person.identity(&self.route, key, unix_now());
        let target = self.call.target().to_owned();
        let first = self.send_as(&identity, &target).await?;
        if !self.still_grants(&person.session) {
            return Err(UpstreamError::Revoked.into());
        }
        self.accept_or_try_api(first, Some(person.session)).await
    }

    async fn send_as(&mut self, identity: &str, target: &str) -> Result<Exchange, UpstreamError> {
        self.send(Via {
            prefix: "",
            target,
            identity: Some(identity),
            keep_our_cookies: false,
            keep_authorization: true,
        })
        .await
    }

    /// The table may have changed while the instance was thinking.
    fn still_grants(&self, session: &Session) -> bool {
        let tables = &self.call.client.shared.tables;
        tables.is_current(&self.table)
            || tables
                .current()
                .is_some_and(|table| table.still_grants(&self.route, Some(session)))
    }

    /// Without a valid cookie. The editor never sees such a request: for
    /// Node-RED it can only be a webhook's short form, so it goes to `/api`.
    async fn as_stranger(&mut self) -> Answer {
        let path = self.call.parts.uri.path();
        let editor_page = path == "/" && self.wants_page();
        let editor_socket = path == "/comms" && self.call.protocol.is_some();
        if self.route.engine == Engine::N8n || editor_page || editor_socket {
            return self.sign_in();
        }
        if let Err(refusal) = access::check_webhook(&self.route.webhook, &self.call.parts.headers) {
            let tried = self.call.parts.headers.contains_key(header::AUTHORIZATION);
            return if self.wants_page() && !tried {
                self.sign_in()
            } else {
                Err(refusal)
            };
        }
        let exchange = self.send_anonymously("/api").await?;
        if exchange.0.status == StatusCode::NOT_FOUND {
            self.call.discard(exchange).await;
            return self.sign_in();
        }
        self.call.class = RequestClass::Webhook;
        self.accept(exchange, None)
    }

    /// Passes the first answer on; a 404 of Node-RED's outside `/api` is tried
    /// once more under `/api`, as long as the body is still at hand.
    async fn accept_or_try_api(&mut self, first: Exchange, session: Option<Session>) -> Answer {
        let missing = first.0.status == StatusCode::NOT_FOUND;
        if !missing || self.route.engine != Engine::NodeRed || self.call.body.again().is_none() {
            return self.accept(first, session);
        }
        self.call.discard(first).await;
        access::check_webhook(&self.route.webhook, &self.call.parts.headers)?;
        self.anonymously("/api").await
    }

    fn sign_in(&self) -> Answer {
        let launch = self.launch_url(self.call.target());
        match launch {
            Some(launch) if self.wants_page() => Ok(answer::redirect(StatusCode::FOUND, &launch)),
            launch => Err(Refusal::SignIn { launch }),
        }
    }

    fn sign_out(&self) -> Response<AnswerBody> {
        let headers = &self.call.parts.headers;
        let mut response = answer::signed_out(self.launch_url("/"), headers, &self.call.request_id);
        if let Ok(cookie) = HeaderValue::try_from(access::clearing_cookie(self.call.is_https)) {
            response.headers_mut().append(header::SET_COOKIE, cookie);
        }
        response
    }

    fn wants_page(&self) -> bool {
        let is_navigation = self.call.parts.method == Method::GET && self.call.protocol.is_none();
        is_navigation && answer::prefers_html(&self.call.parts.headers)
    }

    /// Where the dashboard opens this instance and comes back to `next`.
    fn launch_url(&self, next: &str) -> Option<String> {
        let dashboard = self.table.dashboard_url.as_ref()?;
        let next = percent_encode(&format!("/{}", next.trim_start_matches('/')));
        Some(format!(
            "{dashboard}/launch/{}?next={next}",
            self.host.first_label()
        ))
    }

    async fn send(&self, via: Via<'_>) -> Result<Exchange, UpstreamError> {
        let address = self.route.served_by().ok_or(UpstreamError::Closed)?;
        let key = PoolKey {
            instance_id: self.route.instance_id,
            address,
        };
        self.call.send(key, self.host, via).await
    }

    fn accept(&mut self, exchange: Exchange, session: Option<Session>) -> Answer {
        let guard = Guard::new(&self.call.client.shared.tables, &self.route, session);
        self.call.accept(exchange, Some(guard))
    }
}
