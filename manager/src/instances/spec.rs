use std::collections::BTreeMap;

use super::{Instance, Instances, Routing, Settings, model::Inside};
use crate::{
    engines::{Engine, Surroundings},
    kernel::Secret,
    runtime::ContainerSpec,
};

/// `nodered-wf1`, `n8n-shop`.
pub(super) fn container_name(engine: Engine, name: &str) -> String {
    format!("{}-{name}", engine.facts().container_prefix)
}

/// The container that the row describes now.
pub(super) fn container_spec(
    instances: &Instances,
    it: &Instance,
    inside: &Inside,
    image: &str,
) -> ContainerSpec {
    let settings = &instances.parts.settings;
    let facts = it.engine.facts();
    let alias = |name: &super::Hostname| container_name(it.engine, name.as_str());
    let secrets = it
        .engine
        .kind()
        .secret_files(&inside.keys.credential_secret);
    ContainerSpec {
        instance: it.id,
        project: it.project,
        engine: it.engine.as_str(),
        name: container_name(it.engine, it.subdomain.as_str()),
        image: image.to_owned(),
        env: env(settings, it, inside),
        memory_bytes: i64::from(it.memory_mb) << 20,
        cpus: it.cpus,
        start_cpus: facts.start_cpus.min(settings.cpus_max),
        pids_max: facts.pids_max,
        tmp_bytes: facts.tmp_bytes,
        data_dir: instances.folders.path(it.id),
        secrets_dir: (!secrets.is_empty()).then(|| instances.secrets.path(it.id)),
        user: instances.folders.owner(),
        network_aliases: it.aliases.iter().map(alias).collect(),
        aliases_pinned: settings.routing == Routing::Nginx,
        stop_grace: facts.stop_grace,
    }
}

/// The names are listed in `docs/wire.md`.
fn env(settings: &Settings, it: &Instance, inside: &Inside) -> BTreeMap<String, Secret> {
    let mut env = BTreeMap::new();
    // The user's own first: what Openflow sets stands above it.
    let own_options = inside.env.get("NODE_OPTIONS").unwrap_or_default();
    for (name, value) in inside.env.iter() {
        env.insert(name.to_owned(), Secret::new(value));
    }
    let mut set = |name: &str, value: String| env.insert(name.to_owned(), Secret::new(value));
    let surroundings = Surroundings {
        memory_mb: it.memory_mb,
        node_options: own_options,
        key: &inside.keys.credential_secret,
    };
    for (name, value) in it.engine.kind().env(&surroundings) {
        set(name, value);
    }
    set(
        "OPENFLOW_MAGIC_TOKEN",
        inside.keys.magic_token.expose().to_owned(),
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
