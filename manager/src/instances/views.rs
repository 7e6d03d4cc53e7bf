use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Instance, Settings, Status, model::WebhookMode};
use crate::{
    engines::Engine,
    kernel::{InstanceId, ProjectId, Secret, StackId},
};

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Instance)]
pub(super) struct InstanceView {
    pub(super) id: InstanceId,
    pub(super) project_id: ProjectId,
    pub(super) name: String,
    pub(super) subdomain: String,
    /// The editor's address.
    pub(super) url: String,
    pub(super) engine: Engine,
    pub(super) stack_id: StackId,
    pub(super) status: Status,
    /// Why, in words: the reason of a crash with the last lines of the log,
    /// what hinders the start, or `null`.
    pub(super) status_detail: Option<String>,
    /// Settings have changed that take effect with a restart.
    pub(super) restart_needed: bool,
    pub(super) resources: ResourcesView,
    pub(super) aliases: Vec<String>,
    pub(super) webhook_access: WebhookAccessView,
    pub(super) created_at: DateTime<Utc>,
    pub(super) updated_at: DateTime<Utc>,
    /// When the running container was started.
    pub(super) started_at: Option<DateTime<Utc>>,
    /// When it is put to sleep; `null`: never.
    pub(super) sleep: Option<SleepView>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ResourcesView {
    /// MiB.
    pub(super) memory_mb: i32,
    /// Cores.
    pub(super) cpus: f64,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = WebhookAccess)]
pub(super) struct WebhookAccessView {
    pub(super) mode: WebhookMode,
    /// With `basic`.
    pub(super) username: Option<String>,
}

/// How webhook paths are guarded. The secret is write-only.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct WebhookAccessBody {
    pub(super) mode: WebhookMode,
    /// With `basic`.
    pub(super) username: Option<String>,
    /// Password (`basic`) or key (`bearer`), 8 to 256 bytes; absent keeps the stored one.
    pub(super) secret: Option<Secret>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct SleepView {
    /// Frozen after so many minutes without a request.
    pub(super) after_minutes: u32,
    /// Stopped after so many.
    pub(super) stop_after_minutes: u32,
}

impl InstanceView {
    pub(super) fn new(it: Instance, settings: &Settings) -> Self {
        let status = it.status();
        Self {
            url: settings.url_of(&it.subdomain),
            status,
            id: it.id,
            project_id: it.project,
            name: it.name,
            subdomain: it.subdomain.to_string(),
            engine: it.engine,
            stack_id: it.stack,
            status_detail: it.seen.detail.or(it.seen.notice),
            restart_needed: it.seen.restart_needed,
            resources: ResourcesView {
                memory_mb: it.memory_mb,
                cpus: it.cpus,
            },
            aliases: it.aliases.iter().map(ToString::to_string).collect(),
            webhook_access: WebhookAccessView {
                mode: it.webhook_access.mode,
                username: it.webhook_access.username,
            },
            created_at: it.created_at,
            updated_at: it.updated_at,
            started_at: it.seen.started_at,
            sleep: None,
        }
    }
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Alias)]
pub(super) struct AliasView {
    pub(super) name: String,
    pub(super) url: String,
    /// Whether it leads nowhere before a restart: with nginx as the router.
    pub(super) restart_needed: bool,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Stats)]
pub(super) struct StatsView {
    /// 100 is one core.
    pub(super) cpu_percent: f64,
    pub(super) memory_bytes: u64,
    pub(super) memory_limit_bytes: u64,
    /// Of the data folder.
    pub(super) disk_bytes: u64,
    pub(super) network_rx_bytes: u64,
    pub(super) network_tx_bytes: u64,
    pub(super) pids: u64,
    pub(super) at: DateTime<Utc>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Launch)]
pub(super) struct LaunchView {
    pub(super) instance_id: InstanceId,
    /// Works once, within a minute.
    pub(super) url: String,
    pub(super) expires_at: DateTime<Utc>,
}
