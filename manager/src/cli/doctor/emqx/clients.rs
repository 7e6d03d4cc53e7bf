//! What keeps the clients of two projects apart: where topics are mounted and
//! what client ids begin with.
use serde_json::Value;

use crate::cli::doctor::Finding;

const MOUNTPOINT: &str = "${client_attrs.tenant}";
pub(super) const LISTENER: &str = "Write into emqx.conf, for every listener that is on: mountpoint = \"${client_attrs.tenant}\", enable_authn = quick_deny_anonymous; \
                        and for every other one of tcp, ssl, ws and wss: enable = false";
const CLIENT_ID: &str =
    "Write into emqx.conf: mqtt.clientid_override = \"concat([username, ':', clientid])\"";

/// One listener that is on, as `/listeners/{id}` gives it.
pub(super) fn listener(id: &str, it: &Value) -> Finding {
    let text = |name: &str| it[name].as_str().unwrap_or_default();
    if text("mountpoint") != MOUNTPOINT {
        let detail = format!(
            "the listener {id} has the mountpoint \"{}\": its clients are in no project, or all in one, and see each other's messages",
            text("mountpoint")
        );
        return Finding::fail("emqx", detail, LISTENER);
    }
    if it["enable_authn"] == false {
        let detail =
            format!("the listener {id} lets everybody in without asking (enable_authn = false)");
        return Finding::fail("emqx", detail, LISTENER);
    }
    let is_empty = match &it["authentication"] {
        Value::Array(own) => own.is_empty(),
        Value::Object(own) => own.is_empty(),
        _ => true,
    };
    if !is_empty {
        let detail = format!(
            "the listener {id} has an authentication of its own, so the manager is not asked there"
        );
        let advice = format!(
            "Take authentication out of the listener {id} in emqx.conf, or delete it in EMQX's dashboard."
        );
        return Finding::fail("emqx", detail, advice);
    }
    match text("zone") {
        "" | "default" => Finding::ok(
            "emqx",
            format!("the listener {id} puts each client below its project"),
        ),
        zone => Finding::warn(
            "emqx",
            format!("the listener {id} is in the zone {zone}, whose mqtt settings are not checked"),
            "Take zone out of the listener in emqx.conf.",
        ),
    }
}

/// `mqtt.clientid_override`, of the settings of all zones.
pub(super) fn ids(zone: &Value) -> Finding {
    let found = &zone["mqtt"]["clientid_override"];
    let plain: String = found
        .as_str()
        .unwrap_or_default()
        .chars()
        .filter(|it| !it.is_whitespace())
        .map(|it| if it == '"' { '\'' } else { it })
        .collect();
    if plain == "concat([username,':',clientid])" {
        return Finding::ok("emqx", "client ids begin with the user name");
    }
    let found = match found {
        Value::String(other) => format!("is {other}"),
        _ => "is not set".to_owned(),
    };
    let detail = format!(
        "mqtt.clientid_override {found}: client ids are global in EMQX, so the manager refuses every client rather than let one \
         project take over another's session"
    );
    Finding::fail("emqx", detail, CLIENT_ID)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cli::doctor::Verdict;

    #[test]
    fn every_listener_needs_the_mountpoint_and_asks() {
        let fine = json!({"mountpoint": MOUNTPOINT, "enable_authn": "quick_deny_anonymous", "zone": "default"});
        let with = |name: &str, value: Value| {
            let mut it = fine.clone();
            it[name] = value;
            it
        };
        for (it, verdict) in [
            (fine.clone(), Verdict::Ok),
            (with("enable_authn", json!(true)), Verdict::Ok),
            (with("authentication", json!([])), Verdict::Ok),
            (with("mountpoint", json!("")), Verdict::Fail),
            (with("mountpoint", json!("ff/")), Verdict::Fail),
            (with("mountpoint", Value::Null), Verdict::Fail),
            (with("enable_authn", json!(false)), Verdict::Fail),
            (
                with("authentication", json!([{"backend": "redis"}])),
                Verdict::Fail,
            ),
            (with("zone", json!("slow")), Verdict::Warn),
            (json!({}), Verdict::Fail),
        ] {
            let finding = listener("tcp:default", &it);
            assert_eq!(finding.verdict, verdict, "{it}");
            assert_eq!(finding.advice.is_empty(), verdict == Verdict::Ok, "{it}");
        }
    }

    #[test]
    fn client_ids() {
        for (value, verdict) in [
            (json!("concat([username, ':', clientid])"), Verdict::Ok),
            (json!("concat([ username,\":\",clientid ])"), Verdict::Ok),
            (json!("username"), Verdict::Fail),
            (json!("concat([clientid, ':', username])"), Verdict::Fail),
            (json!("disabled"), Verdict::Fail),
            (Value::Null, Verdict::Fail),
        ] {
            let zone = json!({"mqtt": {"clientid_override": value}});
            assert_eq!(ids(&zone).verdict, verdict, "{zone}");
        }
        assert_eq!(ids(&json!({})).verdict, Verdict::Fail);
    }
}
