//! Who is let in, and what they may do then.
use serde_json::Value;

use super::Expected;
use crate::{cli::doctor::Finding, crypto::constant_time_eq};

const HOOK_PATH: &str = "/mqtt/auth";
const SECRET_HEADER: &str = "x-openflow-hook-secret";
/// The first with `mqtt.clientid_override`.
const VERSION_MIN: [u32; 3] = [5, 8, 3];
/// From here on under the Business Source License.
const VERSION_BSL: [u32; 3] = [5, 9, 0];
const BODY: [&str; 4] = ["username", "password", "clientid", "peerhost"];

const ONE_AUTHENTICATOR: &str = "Write the authentication of emqx/emqx.conf into emqx.conf, and delete what was added in EMQX's dashboard.";
const AUTHORIZATION: &str =
    "Write into emqx.conf: authorization { no_match = allow, deny_action = ignore, sources = [] }";

/// Of `/nodes`.
pub(super) fn versions(nodes: &Value) -> Vec<Finding> {
    nodes
        .as_array()
        .into_iter()
        .flatten()
        .map(version)
        .collect()
}

fn version(node: &Value) -> Finding {
    let text = node["version"].as_str().unwrap_or_default();
    let name = node["node"].as_str().unwrap_or("a node");
    let core = text.split(['-', '+']).next().unwrap_or_default();
    let numbers: Vec<u32> = core.split('.').filter_map(|it| it.parse().ok()).collect();
    let Ok(version) = <[u32; 3]>::try_from(numbers) else {
        return Finding::warn(
            "emqx",
            format!("{name} has the unknown version \"{text}\""),
            "",
        );
    };
    if version < VERSION_MIN {
        let detail = format!(
            "{name} is EMQX {text}, which cannot keep client ids of two projects apart (mqtt.clientid_override)"
        );
        return Finding::fail("emqx", detail, "Upgrade to EMQX 5.8.9.");
    }
    if VERSION_BSL <= version {
        let detail = format!(
            "{name} is EMQX {text}, under the Business Source License: a cluster, and a service for others, need a license of EMQ's"
        );
        return Finding::warn(
            "emqx",
            detail,
            "Read EMQX's license, or run 5.8.9, which is under Apache 2.0.",
        );
    }
    Finding::ok("emqx", format!("{name} is EMQX {text}"))
}

/// Of `/authentication`: exactly one, which asks the manager.
pub(super) fn authenticators(chain: &Value, expected: &Expected) -> Vec<Finding> {
    let chain: Vec<&Value> = chain.as_array().into_iter().flatten().collect();
    let detail = match chain.as_slice() {
        [it] if is_hook(it) => return hook(it, expected),
        [] => "no authenticator is set: EMQX lets everybody in, and all into the same topics"
            .to_owned(),
        [it] => format!(
            "the authenticator {} is not the manager's hook, so clients have no project",
            id(it)
        ),
        more => format!(
            "{} authenticators are set ({}): whom the manager refuses may get in by another one, without a project",
            more.len(),
            more.iter().map(|it| id(it)).collect::<Vec<_>>().join(", ")
        ),
    };
    vec![Finding::fail("emqx", detail, ONE_AUTHENTICATOR)]
}

/// The id of the hook's authenticator, if it is there.
pub(super) fn id_of_hook(chain: &Value) -> Option<&str> {
    let found = chain.as_array()?.iter().find(|it| is_hook(it))?;
    Some(id(found))
}

fn id(it: &Value) -> &str {
    it["id"].as_str().unwrap_or("password_based:http")
}

fn is_hook(it: &Value) -> bool {
    it["mechanism"] == "password_based" && it["backend"] == "http"
}

fn hook(it: &Value, expected: &Expected) -> Vec<Finding> {
    if it["enable"] == false {
        let detail = "the authenticator is switched off: EMQX lets everybody in, and all into the same topics";
        return vec![Finding::fail(
            "emqx",
            detail,
            "Write enable = true into the authenticator of emqx.conf.",
        )];
    }
    let mut findings: Vec<Finding> = [url(it, expected), fields(it), secret(it, expected)]
        .into_iter()
        .flatten()
        .collect();
    if findings.is_empty() {
        findings.push(Finding::ok(
            "emqx",
            "the manager is asked about every client",
        ));
    }
    findings
}

fn url(it: &Value, expected: &Expected) -> Option<Finding> {
    let text = it["url"].as_str().unwrap_or_default();
    let url = url::Url::parse(text).ok();
    let is_hook = url.as_ref().is_some_and(|it| it.path() == HOOK_PATH);
    let advice = format!(
        "Write into the authenticator of emqx.conf: method = post, url = \"http://127.0.0.1:{}{HOOK_PATH}\"",
        expected.port
    );
    if !is_hook || it["method"] != "post" {
        let detail = format!(
            "EMQX asks {} {text}, which is not the manager's {HOOK_PATH}: nobody gets in, or by somebody else's word",
            it["method"]
        );
        return Some(Finding::fail("emqx", detail, advice));
    }
    let port = url.and_then(|it| it.port_or_known_default());
    if port == Some(expected.port) {
        return None;
    }
    let detail = format!(
        "EMQX asks {text}, and the manager listens on port {}; that fits only with something between",
        expected.port
    );
    Some(Finding::warn("emqx", detail, advice))
}

fn fields(it: &Value) -> Option<Finding> {
    let body = &it["body"];
    let wrong = |name: &&&str| body[**name] != format!("${{{name}}}");
    let wrong: Vec<&str> = BODY.iter().filter(wrong).copied().collect();
    let is_json = header(it, "content-type").is_some_and(|it| it.starts_with("application/json"));
    let lines: Vec<String> = BODY
        .iter()
        .map(|it| format!("{it} = \"${{{it}}}\""))
        .collect();
    if !is_json {
        let detail = "the authenticator does not send JSON, which the manager does not understand: nobody gets in";
        let advice = "Write into its headers: \"content-type\" = \"application/json\"";
        return Some(Finding::fail("emqx", detail, advice));
    }
    let advice = format!(
        "Write into the authenticator of emqx.conf: body {{ {} }}",
        lines.join(", ")
    );
    match wrong.as_slice() {
        [] => None,
        ["peerhost"] => {
            let detail = "the manager is not told the clients' addresses, so wrong passwords are limited for all of them together";
            Some(Finding::warn("emqx", detail, advice))
        }
        _ => {
            let detail = format!(
                "the manager is not told {}: nobody gets in",
                wrong.join(", ")
            );
            Some(Finding::fail("emqx", detail, advice))
        }
    }
}

fn secret(it: &Value, expected: &Expected) -> Option<Finding> {
    let advice = format!(
        "Write into the authenticator's headers in emqx.conf: \"{SECRET_HEADER}\" = the value of OPENFLOW_HOOK_SECRET, or of keys/hook.secret in the data folder"
    );
    let Some(shown) = header(it, SECRET_HEADER) else {
        let detail = "EMQX does not show the manager the hook's secret: nobody gets in";
        return Some(Finding::fail("emqx", detail, advice));
    };
    // EMQX shows stars in place of what it takes for a secret.
    let is_hidden = !shown.is_empty() && shown.chars().all(|it| it == '*');
    let secret = expected.secret.as_ref()?.expose();
    if is_hidden || constant_time_eq(shown.as_bytes(), secret.as_bytes()) {
        return None;
    }
    let detail = "EMQX shows the manager another secret than the hook's: nobody gets in";
    Some(Finding::fail("emqx", detail, advice))
}

fn header<'a>(it: &'a Value, name: &str) -> Option<&'a str> {
    let mut headers = it["headers"].as_object()?.iter();
    headers
        .find(|(key, _)| key.eq_ignore_ascii_case(name))?
        .1
        .as_str()
}

/// Of `/authentication/{id}/status`.
pub(super) fn hook_status(it: &Value) -> Finding {
    match it["status"].as_str() {
        Some("connected") => Finding::ok("emqx", "EMQX reaches the manager"),
        status => Finding::fail(
            "emqx",
            format!(
                "EMQX does not reach the manager ({}): nobody new gets in; who is connected stays",
                status.unwrap_or("unknown")
            ),
            "Start the manager, or correct the authenticator's url in emqx.conf. EMQX looks again every 15 s.",
        ),
    }
}

/// Of `/authorization/settings`.
pub(super) fn no_match(it: &Value) -> Finding {
    if it["no_match"] == "allow" {
        return Finding::ok("emqx", "within its own topics a project may do all");
    }
    let detail = format!(
        "authorization.no_match is {}: clients are refused on their own project's topics",
        it["no_match"]
    );
    Finding::fail("emqx", detail, AUTHORIZATION)
}

/// Of `/authorization/sources`.
pub(super) fn sources(it: &Value) -> Finding {
    let on = it["sources"].as_array().into_iter().flatten();
    let on: Vec<&str> = on
        .filter(|it| it["enable"] != false)
        .map(|it| it["type"].as_str().unwrap_or("unknown"))
        .collect();
    if on.is_empty() {
        return Finding::ok("emqx", "no other rules are asked");
    }
    let detail = format!(
        "authorization.sources has {}: rules are asked with the topic as the client wrote it, and the default ones refuse \"#\" although \
         it means only the project's own",
        on.join(", ")
    );
    Finding::warn("emqx", detail, AUTHORIZATION)
}
