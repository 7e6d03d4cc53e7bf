//! `POST /mqtt/auth`: the body and the answers of EMQX's HTTP authenticator.
use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, State, rejection::BytesRejection},
    http::HeaderMap,
    routing::post,
};
use serde::{Deserialize, Serialize};

use super::{ConnectAttempt, Credentials, Denial, Verdict};
use crate::{
    crypto::constant_time_eq,
    kernel::Secret,
    web::{Json, Problem},
};

const SECRET_HEADER: &str = "x-openflow-hook-secret";
/// Far above what a CONNECT's fields can come to.
const BODY_BYTES_MAX: usize = 64 << 10;

#[derive(Clone)]
struct Hook {
    credentials: Credentials,
    secret: Secret,
}

/// Answers only callers that show the shared secret.
pub fn router(credentials: Credentials, secret: Secret) -> Router {
    Router::new()
        .route("/mqtt/auth", post(auth))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(Hook {
            credentials,
            secret,
        })
}

/// Fields that we do not use (`peerhost`, …) may be there.
#[derive(Deserialize)]
struct AuthBody<'a> {
    #[serde(borrow)]
    username: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    password: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    clientid: std::borrow::Cow<'a, str>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Answer {
    Allow {
        result: &'static str,
        is_superuser: bool,
        client_attrs: ClientAttrs,
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
    let verdict = match serde_json::from_slice::<AuthBody<'_>>(&body) {
        Ok(body) => hook.credentials.judge(&ConnectAttempt {
            username: &body.username,
            password: &body.password,
            client_id: &body.clientid,
        }),
        Err(_) => Verdict::Deny(Denial::Malformed),
    };
    Ok(Json(answer(verdict)))
}

fn answer(verdict: Verdict) -> Answer {
    match verdict {
        Verdict::Allow { project } => {
            metrics::counter!("openflow_mqtt_auth_total", "result" => "allow").increment(1);
            Answer::Allow {
                result: "allow",
                is_superuser: false,
                client_attrs: ClientAttrs {
                    tenant: format!("ff/{project}/"),
                },
            }
        }
        Verdict::Deny(why) => {
            metrics::counter!("openflow_mqtt_auth_total", "result" => why.as_str()).increment(1);
            tracing::debug!(
                reason = why.as_str(),
                "MQTT connect denied: {}",
                why.as_str()
            );
            Answer::Deny { result: "deny" }
        }
    }
}
