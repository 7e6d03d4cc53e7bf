//! `POST /mqtt/auth`: the body and the answers of EMQX's HTTP authenticator.
use std::{borrow::Cow, sync::Arc};

use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, State, rejection::BytesRejection},
    http::HeaderMap,
    routing::post,
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    ClientIds, ConnectAttempt, Denial, Foundation, Verdict, Who,
    acl::{self, AclRule},
    console_may_connect, console_project, model,
};
use crate::{
    crypto::constant_time_eq,
    kernel::{Clock, Secret},
    web::{Json, Problem},
};

const SECRET_HEADER: &str = "x-openflow-hook-secret";
/// Far above what a CONNECT's fields can come to.
const BODY_BYTES_MAX: usize = 64 << 10;

#[derive(Clone)]
struct Hook {
    foundation: Foundation,
    secret: Secret,
    clock: Arc<dyn Clock>,
}

/// Answers only callers that show the shared secret.
pub fn router(foundation: Foundation, secret: Secret, clock: Arc<dyn Clock>) -> Router {
    Router::new()
        .route("/mqtt/auth", post(auth))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(Hook {
            foundation,
            secret,
            clock,
        })
}

/// Fields that we do not use may be there.
#[derive(Deserialize)]
struct AuthBody<'a> {
    #[serde(borrow)]
    username: Cow<'a, str>,
    #[serde(borrow)]
    password: Cow<'a, str>,
    #[serde(borrow)]
    clientid: Cow<'a, str>,
    peerhost: Option<String>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Answer {
    Allow {
        result: &'static str,
        is_superuser: bool,
        client_attrs: ClientAttrs,
        /// For clients with rules.
        #[serde(skip_serializing_if = "Option::is_none")]
        acl: Option<Vec<AclRule>>,
    },
    Deny {
        result: &'static str,
    },
}

#[derive(Serialize)]
struct ClientAttrs {
    /// The mountpoint.
    tenant: String,
}

async fn auth(
    State(hook): State<Hook>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Answer>, Problem> {
    let shown = headers
        .get(SECRET_HEADER)
        .map_or(&[][..], |it| it.as_bytes());
    if !constant_time_eq(shown, hook.secret.expose().as_bytes()) {
        metrics::counter!("openflow_mqtt_auth_total", "result" => "wrong_secret").increment(1);
        return Err(Problem::new(
            axum::http::StatusCode::UNAUTHORIZED,
            "auth.wrong_secret",
            "The header X-Openflow-Hook-Secret is missing or wrong.",
        ));
    }
    // A broker takes anything but a clear answer for "ask somebody else".
    let body = body.unwrap_or_default();
    Ok(Json(match serde_json::from_slice::<AuthBody<'_>>(&body) {
        Ok(body) => decide(&hook, &body),
        Err(error) => {
            metrics::counter!("openflow_mqtt_auth_total", "result" => Denial::Malformed.as_str())
                .increment(1);
            tracing::debug!("an MQTT connect was denied: the hook's body is malformed: {error}");
            Answer::Deny { result: "deny" }
        }
    }))
}

fn decide(hook: &Hook, body: &AuthBody<'_>) -> Answer {
    let attempt = ConnectAttempt {
        username: &body.username,
        password: &body.password,
        client_id: &body.clientid,
        address: body.peerhost.as_deref().and_then(|it| it.parse().ok()),
    };
    if let Some(project) = console_project(attempt.username) {
        return decide_console(hook, project, &attempt);
    }
    let Foundation {
        credentials,
        events,
        ..
    } = &hook.foundation;
    match credentials.authenticate(&attempt, ClientIds::Prefixed) {
        Verdict::Deny(_) => Answer::Deny { result: "deny" },
        Verdict::Allow { project, rules } => {
            events.connected(Who {
                project,
                username: attempt.username,
                client_id: model::own_client_id(&attempt).unwrap_or_default(),
                address: attempt.address,
            });
            allow(project, rules.map(|it| acl::acl(&it)))
        }
    }
}

/// A manager that looks at the project's topics for somebody.
fn decide_console(hook: &Hook, project: Uuid, attempt: &ConnectAttempt<'_>) -> Answer {
    let now = hook.clock.now();
    let allowed = console_may_connect(&hook.secret, project, attempt.password, now)
        && model::own_client_id(attempt).is_some();
    let result = if allowed { "console" } else { "console_denied" };
    metrics::counter!("openflow_mqtt_auth_total", "result" => result).increment(1);
    match allowed {
        true => allow(project, None),
        false => Answer::Deny { result: "deny" },
    }
}

fn allow(project: Uuid, acl: Option<Vec<AclRule>>) -> Answer {
    Answer::Allow {
        result: "allow",
        is_superuser: false,
        client_attrs: ClientAttrs {
            tenant: format!("ff/{project}/"),
        },
        acl,
    }
}
