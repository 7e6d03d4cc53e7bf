use std::{collections::BTreeMap, time::Duration};

use super::{DataFolders, Instance, Routing, Settings, model::Inside};
use crate::{kernel::Secret, runtime::ContainerSpec, stacks::Engine};

const PIDS_MAX: i64 = 256;
const TMP_BYTES: i64 = 64 << 20;
const STOP_GRACE: Duration = Duration::from_secs(10);
/// Of the memory limit: what the engine's heap may take, so that a leak ends
/// in a readable message and not in the kernel's killer.
const HEAP_SHARE: f64 = 0.62;

/// Inside port of an engine.
pub(super) fn port(engine: Engine) -> u16 {
    match engine {
        Engine::NodeRed => 1880,
        Engine::N8n => 5678,
    }
}

/// `nodered-wf1`, `n8n-shop`.
pub(super) fn container_name(engine: Engine, name: &str) -> String {
    match engine {
        Engine::NodeRed => format!("nodered-{name}"),
        Engine::N8n => format!("n8n-{name}"),
    }
}

/// The container that the row describes now.
pub(super) fn container_spec(
    settings: &Settings,
    folders: &DataFolders,
    it: &Instance,
    inside: &Inside,
    image: &str,
) -> ContainerSpec {
    let alias = |name: &super::Hostname| container_name(it.engine, name.as_str());
    ContainerSpec {
        instance: it.id,
        project: it.project,
        engine: it.engine.as_str(),
        name: container_name(it.engine, it.subdomain.as_str()),
        image: image.to_owned(),
        env: env(settings, it, inside),
        memory_bytes: i64::from(it.memory_mb) << 20,
        cpus: it.cpus,
        pids_max: PIDS_MAX,
        tmp_bytes: TMP_BYTES,
        data_dir: folders.path(it.id),
        user: folders.owner(),
        network_aliases: it.aliases.iter().map(alias).collect(),
        aliases_pinned: settings.routing == Routing::Nginx,
        stop_grace: STOP_GRACE,
    }
}

/// The names are listed in `docs/wire.md`.
fn env(settings: &Settings, it: &Instance, inside: &Inside) -> BTreeMap<String, Secret> {
    let heap_mb = (f64::from(it.memory_mb) * HEAP_SHARE) as i64;
    let mut env = BTreeMap::new();
    // The user's own first: what Openflow sets stands above it.
    let own_options = inside.env.get("NODE_OPTIONS").unwrap_or_default();
    for (name, value) in inside.env.iter() {
        env.insert(name.to_owned(), Secret::new(value));
    }
    let mut set = |name: &str, value: String| env.insert(name.to_owned(), Secret::new(value));
    let options = format!("--max-old-space-size={heap_mb} {own_options}");
    set("NODE_OPTIONS", options.trim_end().to_owned());
    set(
        "OPENFLOW_MAGIC_TOKEN",
        inside.keys.magic_token.expose().to_owned(),
    );
    set(
        "OPENFLOW_CREDENTIAL_SECRET",
        inside.keys.credential_secret.expose().to_owned(),
    );
    set("OPENFLOW_INSTANCE_ID", it.id.to_string());
    set("OPENFLOW_SUBDOMAIN", it.subdomain.to_string());
    set("OPENFLOW_NAME", it.name.clone());
    set("OPENFLOW_URL", settings.url_of(&it.subdomain));
    set("OPENFLOW_LAUNCH_URL", settings.launch_url(&it.subdomain));
    set("OPENFLOW_MANAGER_URL", settings.manager_url.clone());
    set("OPENFLOW_MQTT_URL", settings.mqtt_url.clone());
    set("OPENFLOW_MQTT_USERNAME", it.mqtt_username());
    set(
        "OPENFLOW_MQTT_PASSWORD",
        inside.keys.mqtt_password.expose().to_owned(),
    );
    if it.seen.safe_mode {
        set("OPENFLOW_SAFE_MODE", "true".to_owned());
    }
    env
}
