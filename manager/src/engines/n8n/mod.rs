//! n8n: its workflows, tags, variables and credentials are in a database that
//! only n8n itself writes to. The settings shim inside gives and takes them
//! (`/openflow/content`, see docs/wire.md).
mod content;
pub mod credentials;
mod nodes;

use std::{fs, io, path::Path, time::Duration};

use async_trait::async_trait;
use hyper::{Method, StatusCode};
use openflow_archive::Folder;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    Admin, Credentials, CredentialsError, FLOWS_BYTES_MAX, Facts, FirstFile, FirstTemplate,
    HandedOver, Kind, Module, Postgres, ReadError, Refused, Sealed, Site, Staged, Surroundings,
    admin::{Answer, Bounds, shown},
};
use crate::kernel::Secret;

/// Beside a staged restore.
const CONTENT: &str = "content.json";
/// The kernel's kill, mostly for want of memory.
const KILLED: i64 = 137;
/// Credentials come on top of the flows; the shim takes no more.
const CONTENT_BYTES_MAX: u64 = FLOWS_BYTES_MAX + (8 << 20);
const READ: Bounds = Bounds {
    bytes: CONTENT_BYTES_MAX,
    time: Duration::from_secs(30),
};
/// Activating workflows asks the services that they are triggered by.
const WRITE: Bounds = Bounds {
    bytes: 1 << 20,
    time: Duration::from_secs(180),
};
const INSTALL: Bounds = Bounds {
    bytes: 64 << 10,
    time: Duration::from_secs(300),
};
/// What n8n keeps of a service that it was let into.
const TOKEN: &str = "oauthTokenData";
const KEY_FILE: &str = "encryption_key";
const OLD_KEY_FILE: &str = "old_encryption_key";
/// So many workflows that could not be activated are named.
const NAMED_MAX: usize = 5;

static FACTS: Facts = Facts {
    name: "n8n",
    title: "n8n",
    port: 5678,
    container_prefix: "n8n",
    memory_mb_min: 640,
    memory_mb_default: 768,
    memory_why: "n8n and its task runner take some 550 MiB while they start",
    pids_max: 256,
    tmp_bytes: 192 << 20,
    stop_grace: Duration::from_secs(30),
    start_cpus: 2.0,
    // Webhooks answer 404 until their workflows are active.
    flows_wait: Duration::from_secs(30),
    has_safe_mode: false,
    restores_running: true,
    rehearsal: ["node", "/opt/openflow/n8n/rehearse.js"],
    rehearsal_memory_mb_min: 768,
    postgres: Some(Postgres {
        url_file: "database_url",
        dump_file: ".n8n/database.dump",
        pointer_file: ".n8n/database.json",
    }),
    templates: &[
        FirstTemplate {
            name: "Blank n8n",
            description: "An empty editor.",
            flows: None,
        },
        FirstTemplate {
            name: "n8n webhook",
            description: "A workflow that answers GET /webhook/hello.",
            flows: Some(include_str!("webhook.json")),
        },
    ],
    licence: Some(
        "n8n comes under the Sustainable Use License: for your own internal business purposes, or free of charge. \
         Running it for paying customers needs an agreement with n8n GmbH.",
    ),
};

pub(super) struct N8n;

#[async_trait]
impl Kind for N8n {
    fn facts(&self) -> &'static Facts {
        &FACTS
    }

    fn env(&self, it: &Surroundings<'_>) -> Vec<(&'static str, String)> {
        // The shim divides it between n8n's heap and its task runner's.
        vec![("OPENFLOW_MEMORY_MB", it.memory_mb.to_string())]
    }

    fn secret_files(&self, key: &Secret) -> Vec<(&'static str, Secret)> {
        vec![(KEY_FILE, key.clone())]
    }

    fn check_template(&self, flows: &Value) -> Result<(), String> {
        content::of_template(flows).map(drop)
    }

    fn first_files(&self, _: Option<&Value>, _: &Secret) -> Vec<FirstFile> {
        Vec::new() // the image brings the database
    }

    async fn seed(&self, admin: &Admin, flows: Option<&Value>) -> Result<Option<String>, String> {
        let Some(flows) = flows else {
            return Ok(None);
        };
        let content = content::of_template(flows)?.to_string();
        match put(admin, content.into_bytes()).await {
            Ok(answer) => Ok(troubles(&answer.json())),
            Err(Refused::No(why) | Refused::Unknown(why)) => Err(why),
        }
    }

    fn nodes(&self, flows: &str) -> Result<Vec<Value>, String> {
        nodes::nodes(flows)
    }

    fn counts(&self, all: &[Value]) -> (usize, usize) {
        nodes::counts(all)
    }

    async fn read(&self, site: &Site<'_>) -> Result<Sealed, ReadError> {
        let text = match &site.admin {
            Some(admin) => ask_running(admin).await?,
            None => ask_stopped(site).await?,
        };
        tokio::task::spawn_blocking(move || content::take_apart(&text))
            .await
            .unwrap_or_else(|error| Err(ReadError::Away(error.to_string())))
    }

    fn open(&self, key: &Secret, all: &[u8]) -> Result<Credentials, CredentialsError> {
        content::open(key, all)
    }

    /// n8n renews tokens by itself; a service takes an old one for stolen.
    fn carry(&self, own: &Value, snapshot: &Value) -> Value {
        let mut carried = snapshot.clone();
        if let Some(token) = own.get(TOKEN).filter(|_| carried.get(TOKEN).is_some()) {
            carried[TOKEN] = token.clone();
        }
        carried
    }

    fn stage(&self, into: &Path, staged: &Staged<'_>) -> io::Result<HandedOver> {
        let content = content::put_together(staged)?;
        fs::create_dir(into)?;
        let folder = Folder::open(into)?;
        folder.write(CONTENT, content.to_string().as_bytes(), 0o600, None)?;
        Ok(HandedOver::Running)
    }

    async fn hand_over(&self, admin: &Admin, staged: &Path) -> Result<Option<String>, Refused> {
        let path = staged.join(CONTENT);
        let content = tokio::fs::read(path)
            .await
            .map_err(|error| Refused::No(format!("what was put beside is gone ({error})")))?;
        let answer = put(admin, content).await?;
        Ok(troubles(&answer.json()))
    }

    async fn install(&self, admin: &Admin, module: &Module) -> Result<(), String> {
        let body = json!({"name": module.name, "version": module.version});
        let body = body.to_string().into_bytes();
        let answer = admin
            .ask(Method::POST, "/openflow/modules", body, INSTALL)
            .await?;
        match answer.status.is_success() {
            true => Ok(()),
            false => Err(said(&answer)),
        }
    }

    async fn fit(&self, site: &Site<'_>, from: &Secret, to: &Secret) -> Result<(), String> {
        let command = ["node", "/opt/openflow/n8n/fit.js"];
        let secrets = vec![(OLD_KEY_FILE, from.clone()), (KEY_FILE, to.clone())];
        run_once(site, &command, secrets).await
    }

    async fn dump(&self, site: &Site<'_>) -> Result<(), String> {
        let command = ["node", "/opt/openflow/n8n/database.js", "dump"];
        run_once(site, &command, Vec::new()).await
    }
}

async fn run_once(
    site: &Site<'_>,
    command: &[&str],
    secrets: Vec<(&'static str, Secret)>,
) -> Result<(), String> {
    let command = command.iter().map(|it| (*it).to_owned()).collect();
    match site.once.run(&site.folder, command, secrets).await? {
        (Some(0), _) => Ok(()),
        (status, stderr) => Err(last_line(&stderr, status)),
    }
}

async fn ask_running(admin: &Admin) -> Result<Vec<u8>, ReadError> {
    let answer = admin
        .ask(Method::GET, "/openflow/content", Vec::new(), READ)
        .await
        .map_err(|error| ReadError::Away(format!("n8n does not answer ({error})")))?;
    match answer.status {
        StatusCode::OK => Ok(answer.body.to_vec()),
        _ => Err(ReadError::Away(said(&answer))),
    }
}

/// A container of the image reads the database, not we: what is in it, the
/// tenant wrote.
async fn ask_stopped(site: &Site<'_>) -> Result<Vec<u8>, ReadError> {
    // Another name each time: two may read at once, and a tenant cannot have
    // put something there.
    let name = format!(".openflow-content-{}.json", Uuid::now_v7());
    let command = format!("set -C; exec node /opt/openflow/n8n/content.js >/data/{name}");
    let command = ["sh", "-c", &command].map(str::to_owned).to_vec();
    if !site.folder.is_dir() {
        return Err(ReadError::NoData);
    }
    let ended = site.once.run(&site.folder, command, Vec::new()).await;
    let folder = site.folder.clone();
    let read = tokio::task::spawn_blocking(move || {
        let text = Folder::open(&folder)?.read(&name, CONTENT_BYTES_MAX);
        // A link is removed, and not what it points to.
        let _ = fs::remove_file(folder.join(&name));
        text
    });
    let text = read.await.map_err(io::Error::other).flatten();
    match ended.map_err(ReadError::Away)? {
        (Some(0), _) => {}
        // Only what the program itself says is about the content.
        (Some(status), stderr) if status != KILLED && stderr.contains("openflow: ") => {
            return Err(ReadError::Unreadable(last_line(&stderr, Some(status))));
        }
        (status, stderr) => return Err(ReadError::Away(last_line(&stderr, status))),
    }
    text.map_err(|error| ReadError::Unreadable(error.to_string()))?
        .ok_or_else(|| ReadError::Away("what was read of it is gone".to_owned()))
}

async fn put(admin: &Admin, content: Vec<u8>) -> Result<Answer, Refused> {
    let answer = admin
        .ask(Method::PUT, "/openflow/content", content, WRITE)
        .await
        .map_err(Refused::Unknown)?;
    if answer.status.is_success() {
        return Ok(answer);
    }
    let why = said(&answer);
    match answer.status {
        // Something else is being put in, or it is not up yet.
        StatusCode::CONFLICT | StatusCode::TOO_MANY_REQUESTS => Err(Refused::Unknown(why)),
        // It may have failed after all was in.
        status if status.is_server_error() => Err(Refused::Unknown(why)),
        _ => Err(Refused::No(why)),
    }
}

/// What is in, and does not run.
fn troubles(answer: &Value) -> Option<String> {
    let inactive = answer["inactive"].as_array()?;
    let named = inactive.iter().take(NAMED_MAX).map(|it| {
        let text = |field: &str| it[field].as_str().unwrap_or_default();
        shown(&format!("{}: {}", text("name"), text("reason")))
    });
    let named: Vec<String> = named.collect();
    match inactive.len() {
        0 => None,
        all => Some(format!(
            "{all} workflows could not be activated ({}). Open them in the editor to see why.",
            named.join("; ")
        )),
    }
}

fn said(answer: &Answer) -> String {
    let said = answer.json();
    let text = |field: &str| said[field].as_str().map(str::to_owned);
    let words = text("detail").or_else(|| text("title"));
    let words = words.map(|it| shown(&it));
    words.unwrap_or_else(|| format!("n8n answered with status {}", answer.status.as_u16()))
}

fn last_line(stderr: &str, status: Option<i64>) -> String {
    let lines = stderr.lines().rev().map(str::trim);
    let line = lines.into_iter().find(|it| !it.is_empty());
    match (line, status) {
        (Some(line), _) => shown(line.trim_start_matches("openflow: ")),
        (None, Some(status)) => format!("the program ended with status {status}"),
        (None, None) => "it took too long".to_owned(),
    }
}
