//! Node-RED: its files, its nodes, its modules.
pub mod credentials;
mod files;
mod first_files;
mod modules;
mod nodes;

use std::{
    io::{self, ErrorKind},
    path::Path,
    time::Duration,
};

use async_trait::async_trait;
use hyper::{Method, StatusCode};
use openflow_archive::Folder;
use serde_json::{Value, json};

use super::{
    Admin, Credentials, CredentialsError, Facts, FirstFile, FirstTemplate, HandedOver, Kind,
    Module, ReadError, Refused, Sealed, Site, Staged, Surroundings,
    admin::{Answer, Bounds, shown},
};
use crate::kernel::Secret;

const FLOWS: &str = "flows.json";
/// Of the memory limit: what the heap may take, so that a leak ends in a
/// readable message and not in the kernel's killer.
const HEAP_SHARE: f64 = 0.62;
/// npm may take long on a small instance; it must not take for ever.
const INSTALL: Bounds = Bounds {
    bytes: 64 << 10,
    time: Duration::from_secs(300),
};

static FACTS: Facts = Facts {
    name: "node-red",
    title: "Node-RED",
    port: 1880,
    container_prefix: "nodered",
    memory_mb_min: 64,
    memory_mb_default: 0,
    memory_why: "",
    pids_max: 256,
    tmp_bytes: 64 << 20,
    stop_grace: Duration::from_secs(10),
    start_cpus: 1.0,
    // With missing node types the flows never start.
    flows_wait: Duration::from_secs(3),
    has_safe_mode: true,
    restores_running: false,
    rehearsal: ["node", "/opt/openflow/node-red/rehearse.js"],
    rehearsal_memory_mb_min: 384,
    postgres: None,
    templates: &[
        FirstTemplate {
            name: "Blank Node-RED",
            description: "An empty editor.",
            flows: None,
        },
        FirstTemplate {
            name: "Webhook",
            description: "A flow that answers GET /hello.",
            flows: Some(include_str!("webhook.json")),
        },
    ],
    licence: None,
};

pub(super) struct NodeRed;

#[async_trait]
impl Kind for NodeRed {
    fn facts(&self) -> &'static Facts {
        &FACTS
    }

    fn env(&self, it: &Surroundings<'_>) -> Vec<(&'static str, String)> {
        let heap_mb = (f64::from(it.memory_mb) * HEAP_SHARE) as i64;
        let options = format!("--max-old-space-size={heap_mb} {}", it.node_options);
        vec![
            ("NODE_OPTIONS", options.trim_end().to_owned()),
            ("OPENFLOW_CREDENTIAL_SECRET", it.key.expose().to_owned()),
        ]
    }

    fn secret_files(&self, _: &Secret) -> Vec<(&'static str, Secret)> {
        Vec::new()
    }

    fn check_template(&self, flows: &Value) -> Result<(), String> {
        let nodes = flows
            .as_array()
            .ok_or("Flows are an array of nodes, as the editor's export gives them.")?;
        let whole = |node: &Value| node["id"].is_string() && node["type"].is_string();
        match nodes.iter().all(whole) {
            true => Ok(()),
            false => Err("Every node of the flows has an id and a type.".to_owned()),
        }
    }

    fn first_files(&self, flows: Option<&Value>, key: &Secret) -> Vec<FirstFile> {
        first_files::of(flows, key)
    }

    async fn seed(&self, _: &Admin, _: Option<&Value>) -> Result<Option<String>, String> {
        Ok(None) // they are in the first files
    }

    fn nodes(&self, flows: &str) -> Result<Vec<Value>, String> {
        nodes::nodes(flows)
    }

    fn counts(&self, nodes: &[Value]) -> (usize, usize) {
        nodes::counts(nodes)
    }

    async fn read(&self, site: &Site<'_>) -> Result<Sealed, ReadError> {
        let folder = site.folder.clone();
        let read = tokio::task::spawn_blocking(move || {
            let folder = Folder::open(&folder).map_err(|error| match error.kind() {
                ErrorKind::NotFound => ReadError::NoData,
                _ => ReadError::Unreadable(error.to_string()),
            })?;
            files::read(&folder)
        });
        let files = read
            .await
            .unwrap_or_else(|error| Err(ReadError::Away(error.to_string())))?;
        let text = |bytes| {
            String::from_utf8(bytes)
                .map_err(|_| ReadError::Unreadable("flows.json is not text".to_owned()))
        };
        Ok(Sealed {
            flows: files.flows.map_or(Ok("[]".to_owned()), text)?,
            credentials: files.credentials.unwrap_or_else(|| b"{}".to_vec()),
            modules: files.modules,
        })
    }

    fn open(&self, key: &Secret, file: &[u8]) -> Result<Credentials, CredentialsError> {
        credentials::open(key, file)
    }

    fn stage(&self, into: &Path, staged: &Staged<'_>) -> io::Result<HandedOver> {
        files::write(into, staged)?;
        let names = [FLOWS, credentials::FILE];
        Ok(HandedOver::Files(names.map(str::to_owned).to_vec()))
    }

    /// It never is: it reads the exchanged files when it starts.
    async fn hand_over(&self, _: &Admin, _: &Path) -> Result<Option<String>, Refused> {
        Ok(None)
    }

    async fn install(&self, admin: &Admin, module: &Module) -> Result<(), String> {
        let body = match &module.version {
            Some(version) => json!({"module": module.name, "version": version}),
            None => json!({"module": module.name}),
        };
        let body = body.to_string().into_bytes();
        judge(&admin.ask(Method::POST, "/nodes", body, INSTALL).await?)
    }

    async fn fit(&self, site: &Site<'_>, from: &Secret, to: &Secret) -> Result<(), String> {
        let (folder, owner) = (site.folder.clone(), site.owner);
        let (from, to) = (from.clone(), to.clone());
        tokio::task::spawn_blocking(move || files::rekey(&folder, (&from, &to), owner))
            .await
            .unwrap_or_else(|error| Err(error.to_string()))
    }
}

fn judge(answer: &Answer) -> Result<(), String> {
    let said = answer.json();
    if answer.status.is_success() || said["code"] == "module_already_loaded" {
        return Ok(());
    }
    let message = shown(said["message"].as_str().unwrap_or("no reason given"));
    Err(format!(
        "{message} (status {})",
        StatusCode::as_u16(&answer.status)
    ))
}
