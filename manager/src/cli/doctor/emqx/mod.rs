//! Whether EMQX is set up as `emqx/emqx.conf` says, asked over its management
//! API. Each rule is a pure function of what the API answers.
mod clients;
mod rules;

use serde_json::Value;

use super::Finding;
use crate::{kernel::Secret, mqtt::EmqxApi};

/// Looked at; an installation has four.
const LISTENERS_MAX: usize = 50;

/// What the settings are compared with.
pub(super) struct Expected {
    /// The manager's.
    pub(super) port: u16,
    /// `None` when it cannot be read here.
    pub(super) secret: Option<Secret>,
}

pub(super) async fn all(api: &EmqxApi, expected: &Expected) -> Vec<Finding> {
    let nodes = match api.get::<Value>("/nodes").await {
        Ok(nodes) => nodes,
        // What follows would fail in the same way.
        Err(error) => {
            let advice = "Correct OPENFLOW_EMQX_URL and OPENFLOW_EMQX_API_KEY.";
            let detail = format!("its settings cannot be checked: {error}");
            return vec![Finding::fail("emqx", detail, advice)];
        }
    };
    let mut findings = rules::versions(&nodes);
    match api.get::<Value>("/authentication").await {
        Ok(chain) => {
            findings.extend(rules::authenticators(&chain, expected));
            if let Some(id) = rules::id_of_hook(&chain) {
                let path = format!("/authentication/{}/status", encoded(id));
                findings.push(looked(api.get(&path).await, rules::hook_status));
            }
        }
        Err(error) => findings.push(unknown("its authenticators", &error)),
    }
    findings.push(looked(
        api.get("/authorization/settings").await,
        rules::no_match,
    ));
    findings.push(looked(
        api.get("/authorization/sources").await,
        rules::sources,
    ));
    findings.push(looked(api.get("/configs/global_zone").await, clients::ids));
    findings.extend(listeners(api).await);
    findings
}

async fn listeners(api: &EmqxApi) -> Vec<Finding> {
    let all = match api.get::<Value>("/listeners").await {
        Ok(all) => all,
        Err(error) => return vec![unknown("its listeners", &error)],
    };
    let all: Vec<&Value> = all.as_array().into_iter().flatten().collect();
    let on = all.iter().filter(|it| it["enable"] != false);
    let ids: Vec<&str> = on.filter_map(|it| it["id"].as_str()).collect();
    let mut findings = Vec::new();
    for id in ids.iter().take(LISTENERS_MAX) {
        let path = format!("/listeners/{}", encoded(id));
        findings.push(looked(api.get(&path).await, |it| clients::listener(id, it)));
    }
    if ids.is_empty() {
        findings.push(Finding::fail(
            "emqx",
            "it listens nowhere",
            clients::LISTENER,
        ));
    }
    if LISTENERS_MAX < ids.len() {
        let detail = format!(
            "{} of {} listeners were looked at",
            LISTENERS_MAX,
            ids.len()
        );
        findings.push(Finding::warn("emqx", detail, ""));
    }
    findings
}

fn looked(
    answer: Result<Value, crate::mqtt::BrokerError>,
    rule: impl Fn(&Value) -> Finding,
) -> Finding {
    match answer {
        Ok(value) => rule(&value),
        Err(error) => unknown("one of its settings", &error),
    }
}

fn unknown(what: &str, error: &crate::mqtt::BrokerError) -> Finding {
    Finding::warn("emqx", format!("{what} cannot be checked: {error}"), "")
}

/// A segment of a path: ids hold a colon.
fn encoded(id: &str) -> String {
    url::form_urlencoded::byte_serialize(id.as_bytes()).collect()
}
