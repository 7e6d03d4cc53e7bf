//! Which paths of an engine are whose.
use openflow_route_api::Engine;

use crate::forward::percent_decode;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PathClass {
    /// Open to callers without a sign-in.
    Webhook,
    /// The shim's health answer, open to all.
    Health,
    /// Never let through.
    Hidden,
    /// Needs a signed-in person.
    Editor,
}

/// n8n answers the first segment only in lower case here; another spelling
/// counts as the editor, which asks for more.
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
    pub(crate) fn of(engine: Engine, path: &str) -> Self {
        if path == "/openflow/health" {
            return Self::Health;
        }
        match engine {
            Engine::NodeRed if is_under_api(path) => Self::Webhook,
            Engine::N8n if N8N_WEBHOOKS.iter().any(|prefix| path.starts_with(prefix)) => {
                Self::Webhook
            }
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
        use PathClass::{Editor, Health, Hidden, Webhook};
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
            (N8n, "/webhook", Editor),
            (N8n, "/webhookx/a", Editor),
            (N8n, "/api/v1/workflows", Editor),
            (N8n, "/METRICS/", Hidden),
            (N8n, "/%6detrics", Hidden),
            (N8n, "//metrics", Hidden),
            (N8n, "/metrics/x", Editor),
            (N8n, "/rest/push", Editor),
        ] {
            assert_eq!(PathClass::of(engine, path), class, "{engine:?} {path}");
        }
    }
}
