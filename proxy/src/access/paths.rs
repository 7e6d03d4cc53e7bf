//! Which paths of an engine are whose.
use http::HeaderMap;
use openflow_route_api::Engine;

use crate::forward::percent_decode;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PathClass {
    /// Open to callers without a sign-in.
    Webhook,
    /// The shim's health answer, open to all.
    Health,
    /// The request carries a proof of its own, which the engine checks.
    Keyed,
    /// Never let through.
    Hidden,
    /// Needs a signed-in person.
    Editor,
}

/// n8n answers the first segment only in lower case here; another spelling
/// counts as the editor, which asks for more.
const N8N_API_KEY: &str = "x-n8n-api-key";
const N8N_SIGNED: &str = "/rest/binary-data/signed";
/// The WebSocket of n8n's chat page, which is a form.
const N8N_CHAT: &str = "/chat";
/// What the manager alone asks the shim, straight from within.
const INSIDE: [&str; 3] = ["/openflow/content", "/openflow/modules", "/openflow/awake"];
const N8N_WEBHOOKS: [&str; 8] = [
    "/webhook/",
    "/webhook-test/",
    "/webhook-waiting/",
    "/form/",
    "/form-test/",
    "/form-waiting/",
    "/mcp/",
    "/mcp-test/",
];

impl PathClass {
    /// `path` has been checked: it has no dot segments.
    pub(crate) fn of(engine: Engine, path: &str, headers: &HeaderMap) -> Self {
        if path == "/openflow/health" {
            return Self::Health;
        }
        if INSIDE.contains(&path) {
            return Self::Hidden;
        }
        match engine {
            Engine::NodeRed if is_under_api(path) => Self::Webhook,
            Engine::N8n if N8N_WEBHOOKS.iter().any(|prefix| path.starts_with(prefix)) => {
                Self::Webhook
            }
            Engine::N8n if path == N8N_CHAT => Self::Webhook,
            Engine::N8n if path == N8N_SIGNED => Self::Keyed,
            Engine::N8n if headers.contains_key(N8N_API_KEY) && is_public_api(path) => Self::Keyed,
            Engine::N8n if is_metrics(path) => Self::Hidden,
            _ => Self::Editor,
        }
    }
}

/// Node-RED's `httpNodeRoot`; Express does not look at the case.
pub(crate) fn is_under_api(path: &str) -> bool {
    let start = path.get(..4).unwrap_or_default();
    start.eq_ignore_ascii_case("/api") && matches!(path.as_bytes().get(4), None | Some(b'/'))
}

/// `/api/v1/…`, with any number.
fn is_public_api(path: &str) -> bool {
    let version = path
        .strip_prefix("/api/v")
        .and_then(|rest| rest.split_once('/'));
    version.is_some_and(|(number, _)| {
        !number.is_empty() && number.bytes().all(|it| it.is_ascii_digit())
    })
}

fn is_metrics(path: &str) -> bool {
    let decoded = percent_decode(path.as_bytes()).to_ascii_lowercase();
    let mut segments = decoded
        .split(|&byte| byte == b'/')
        .filter(|segment| !segment.is_empty());
    segments.next() == Some(b"metrics") && segments.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_classed_by_engine() {
        use Engine::{N8n, NodeRed};
        use PathClass::{Editor, Health, Hidden, Keyed, Webhook};
        for (engine, path, class) in [
            (NodeRed, "/api", Webhook),
            (NodeRed, "/API/x", Webhook),
            (NodeRed, "/apix", Editor),
            (NodeRed, "/%61pi/x", Editor),
            (NodeRed, "//api/x", Editor),
            (NodeRed, "/", Editor),
            (NodeRed, "/metrics", Editor),
            (NodeRed, "/openflow/health", Health),
            (NodeRed, "/openflow/snapshots", Editor),
            (NodeRed, "/openflow/restores/1", Editor),
            (N8n, "/openflow/snapshots", Editor),
            (N8n, "/webhook/a", Webhook),
            (N8n, "/mcp-test/a", Webhook),
            (N8n, "/chat", Webhook),
            (N8n, "/chat/x", Editor),
            (N8n, "/rest/binary-data/signed", Keyed),
            (N8n, "/rest/binary-data", Editor),
            (N8n, "/openflow/content", Hidden),
            (NodeRed, "/openflow/modules", Hidden),
            (N8n, "/webhook", Editor),
            (N8n, "/webhookx/a", Editor),
            (N8n, "/api/v1/workflows", Editor),
            (N8n, "/METRICS/", Hidden),
            (N8n, "/%6detrics", Hidden),
            (N8n, "//metrics", Hidden),
            (N8n, "/metrics/x", Editor),
            (N8n, "/rest/push", Editor),
        ] {
            let none = HeaderMap::new();
            assert_eq!(
                PathClass::of(engine, path, &none),
                class,
                "{engine:?} {path}"
            );
        }
    }

    #[test]
    fn an_api_key_opens_the_public_api_alone() {
        use PathClass::{Editor, Hidden, Keyed, Webhook};
        let mut headers = HeaderMap::new();
        headers.insert(N8N_API_KEY, http::HeaderValue::from_static("key"));
        for (engine, path, class) in [
            (Engine::N8n, "/api/v1/workflows", Keyed),
            (Engine::N8n, "/api/v12/x", Keyed),
            (Engine::N8n, "/api/v1", Editor),
            (Engine::N8n, "/api/v/x", Editor),
            (Engine::N8n, "/api/v1x/x", Editor),
            (Engine::N8n, "/rest/login", Editor),
            (Engine::N8n, "/openflow/content", Hidden),
            (Engine::NodeRed, "/api/v1/x", Webhook),
        ] {
            assert_eq!(PathClass::of(engine, path, &headers), class, "{path}");
        }
    }
}
