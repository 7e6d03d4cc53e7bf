use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::{
    engines::Engine,
    kernel::{InstanceId, ProjectId, SnapshotId},
    snapshots::{Snapshot, SnapshotKind, diff::ModuleVersion},
    stacks::EnvVar,
};

/// An instance's flows as they were at a time.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Snapshot)]
pub(in crate::snapshots) struct SnapshotView {
    id: SnapshotId,
    instance_id: InstanceId,
    project_id: ProjectId,
    kind: SnapshotKind,
    name: String,
    description: String,
    /// Who took it, as they were called.
    author: String,
    engine: Engine,
    /// Empty when the stack's image does not say.
    engine_version: String,
    nodes: i32,
    tabs: i32,
    modules: Vec<ModuleVersion>,
    /// Secret ones without their value.
    env: Vec<EnvVar>,
    /// How many nodes have credentials. They are sealed, and in no answer.
    credentials: i32,
    size_bytes: i64,
    created_at: DateTime<Utc>,
}

impl From<Snapshot> for SnapshotView {
    fn from(it: Snapshot) -> Self {
        Self {
            id: it.id,
            instance_id: it.instance,
            project_id: it.project,
            kind: it.kind,
            name: it.name,
            description: it.description,
            author: it.author,
            engine: it.engine,
            engine_version: it.engine_version,
            nodes: it.nodes,
            tabs: it.tabs,
            modules: it.modules.iter().map(ModuleVersion::from).collect(),
            env: it.env,
            credentials: it.credentials,
            size_bytes: it.size_bytes,
            created_at: it.created_at,
        }
    }
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SnapshotWithFlows {
    #[serde(flatten)]
    snapshot: SnapshotView,
    /// The engine's nodes, as it keeps them.
    #[schema(value_type = Vec<Object>)]
    flows: Vec<Value>,
}

impl SnapshotWithFlows {
    pub(super) fn new(it: Snapshot, flows: Vec<Value>) -> Self {
        Self {
            snapshot: it.into(),
            flows,
        }
    }
}
