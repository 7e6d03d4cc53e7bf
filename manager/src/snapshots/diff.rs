//! What differs between two states of flows. Pure.
use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use utoipa::{
    ToSchema,
    openapi::schema::{Object, ObjectBuilder, SchemaType},
};

use super::{Snapshot, model::Content};
use crate::{
    engines::{Installed, is_tab},
    kernel::SnapshotId,
    stacks::EnvVar,
};

/// Where a node is on the canvas, and how large.
const LAYOUT: [&str; 4] = ["x", "y", "w", "h"];

/// What changed on the way from one state to the other.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct SnapshotDiff {
    from: Side,
    to: Side,
    tabs: TabsDiff,
    nodes: NodesDiff,
    wires: WiresDiff,
    modules: ModulesDiff,
    env: EnvDiff,
    credentials: CredentialsDiff,
    /// Nothing differs.
    identical: bool,
}

/// One of the two: a snapshot, or what runs now (all but the name `null`).
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = SnapshotDiffSide)]
pub(super) struct Side {
    pub(super) id: Option<SnapshotId>,
    pub(super) name: String,
    pub(super) created_at: Option<DateTime<Utc>>,
}

impl Side {
    pub(super) fn of(it: &Snapshot) -> Self {
        Self {
            id: Some(it.id),
            name: it.name.clone(),
            created_at: Some(it.created_at),
        }
    }

    pub(super) fn now() -> Self {
        Self {
            id: None,
            name: "current".to_owned(),
            created_at: None,
        }
    }
}

#[derive(Clone, Debug, Serialize, ToSchema)]
struct TabsDiff {
    added: Vec<TabRef>,
    removed: Vec<TabRef>,
    changed: Vec<TabChange>,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
struct TabRef {
    id: String,
    label: String,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
struct TabChange {
    #[serde(flatten)]
    tab: TabRef,
    fields: Vec<FieldChange>,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
struct FieldChange {
    field: String,
    /// `null` when it was absent.
    #[schema(schema_with = any)]
    from: Value,
    /// `null` when it is absent.
    #[schema(schema_with = any)]
    to: Value,
}

/// Whatever JSON can say.
fn any() -> Object {
    use utoipa::openapi::Type::{Array, Boolean, Null, Number, Object, String};
    let types = [Object, Array, String, Number, Boolean, Null];
    ObjectBuilder::new()
        .schema_type(SchemaType::from_iter(types))
        .build()
}

#[derive(Clone, Debug, Serialize, ToSchema)]
struct NodesDiff {
    added: Vec<NodeRef>,
    removed: Vec<NodeRef>,
    changed: Vec<NodeChange>,
}

/// A node; subflows, groups and configuration nodes are nodes, too.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = FlowNodeRef)]
pub(super) struct NodeRef {
    pub(super) id: String,
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) name: String,
    /// The id of the tab or subflow that it is on; none for a configuration
    /// node.
    pub(super) tab: Option<String>,
    pub(super) tab_label: Option<String>,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
struct NodeChange {
    #[serde(flatten)]
    node: NodeRef,
    fields: Vec<FieldChange>,
    /// Nothing but its place on the canvas changed.
    moved: bool,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
struct WiresDiff {
    added: Vec<Wire>,
    removed: Vec<Wire>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
#[schema(as = FlowWire)]
struct Wire {
    from: String,
    /// Of `from`'s outputs, from 0.
    port: usize,
    to: String,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
struct ModulesDiff {
    added: Vec<ModuleVersion>,
    removed: Vec<ModuleVersion>,
    changed: Vec<ModuleChange>,
}

/// A palette module as it is installed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(super) struct ModuleVersion {
    pub(super) name: String,
    /// Empty when it is not known.
    pub(super) version: String,
}

impl From<&Installed> for ModuleVersion {
    fn from(it: &Installed) -> Self {
        Self {
            name: it.name.clone(),
            version: it.version.clone(),
        }
    }
}

#[derive(Clone, Debug, Serialize, ToSchema)]
struct ModuleChange {
    name: String,
    from: String,
    to: String,
}

/// Names of variables. Of secret ones no change shows but that of being secret.
#[derive(Clone, Debug, Serialize, ToSchema)]
struct EnvDiff {
    added: Vec<String>,
    removed: Vec<String>,
    changed: Vec<String>,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
struct CredentialsDiff {
    /// Ids of the nodes whose credentials differ, or are on one side only.
    changed: Vec<String>,
}

type Nodes<'a> = BTreeMap<&'a str, &'a Value>;

pub(super) fn diff(from: (Side, &Content), to: (Side, &Content)) -> SnapshotDiff {
    let ((from, a), (to, b)) = (from, to);
    let (tabs_a, nodes_a) = split(a);
    let (tabs_b, nodes_b) = split(b);
    let labels: BTreeMap<&str, String> = tabs_a
        .iter()
        .chain(&tabs_b)
        .map(|(id, tab)| (*id, text(tab, "label")))
        .collect();
    let node = |it: &Value| node_ref(it, &labels);
    let mut it = SnapshotDiff {
        from,
        to,
        tabs: TabsDiff {
            added: only(&tabs_b, &tabs_a).map(tab_ref).collect(),
            removed: only(&tabs_a, &tabs_b).map(tab_ref).collect(),
            changed: changed(&tabs_a, &tabs_b)
                .map(|(tab, fields)| TabChange {
                    tab: tab_ref(tab),
                    fields,
                })
                .collect(),
        },
        nodes: NodesDiff {
            added: only(&nodes_b, &nodes_a).map(node).collect(),
            removed: only(&nodes_a, &nodes_b).map(node).collect(),
            changed: changed(&nodes_a, &nodes_b)
                .map(|(it, fields)| NodeChange {
                    node: node(it),
                    moved: fields.iter().all(|it| LAYOUT.contains(&&*it.field)),
                    fields,
                })
                .collect(),
        },
        wires: wires_diff(&nodes_a, &nodes_b),
        modules: modules_diff(&a.modules, &b.modules),
        env: env_diff(&a.env, &b.env),
        credentials: CredentialsDiff {
            changed: credentials_diff(a, b),
        },
        identical: false,
    };
    it.identical = it.is_empty();
    it
}

impl SnapshotDiff {
    fn is_empty(&self) -> bool {
        let sizes = [
            self.tabs.added.len() + self.tabs.removed.len() + self.tabs.changed.len(),
            self.nodes.added.len() + self.nodes.removed.len() + self.nodes.changed.len(),
            self.wires.added.len() + self.wires.removed.len(),
            self.modules.added.len() + self.modules.removed.len() + self.modules.changed.len(),
            self.env.added.len() + self.env.removed.len() + self.env.changed.len(),
            self.credentials.changed.len(),
        ];
        sizes.iter().sum::<usize>() == 0
    }
}

/// Tabs, and the rest, by id.
fn split(content: &Content) -> (Nodes<'_>, Nodes<'_>) {
    let nodes = content.flows.nodes.iter();
    let all = nodes.filter_map(|it| Some((it["id"].as_str()?, it)));
    all.partition(|(_, node)| is_tab(node))
}

fn only<'a>(those: &'a Nodes<'a>, but: &'a Nodes<'a>) -> impl Iterator<Item = &'a Value> {
    let gone = |(id, node): (&&'a str, &&'a Value)| (!but.contains_key(id)).then_some(*node);
    those.iter().filter_map(gone)
}

/// Nodes of both with other fields, as they are afterwards.
fn changed<'a>(
    a: &'a Nodes<'a>,
    b: &'a Nodes<'a>,
) -> impl Iterator<Item = (&'a Value, Vec<FieldChange>)> {
    b.iter().filter_map(|(id, after)| {
        let fields = fields(a.get(id)?, after);
        (!fields.is_empty()).then_some((*after, fields))
    })
}

/// Wires are told apart from fields.
fn fields(before: &Value, after: &Value) -> Vec<FieldChange> {
    let keys = |it: &Value| -> BTreeSet<String> {
        let keys = it.as_object().into_iter().flat_map(|it| it.keys());
        keys.filter(|it| *it != "wires").cloned().collect()
    };
    let all: BTreeSet<String> = keys(before).union(&keys(after)).cloned().collect();
    all.into_iter()
        .filter(|it| before.get(it) != after.get(it))
        .map(|field| FieldChange {
            from: before[&field].clone(),
            to: after[&field].clone(),
            field,
        })
        .collect()
}

fn text(node: &Value, field: &str) -> String {
    node[field].as_str().unwrap_or_default().to_owned()
}

fn tab_ref(tab: &Value) -> TabRef {
    TabRef {
        id: text(tab, "id"),
        label: text(tab, "label"),
    }
}

pub(super) fn node_ref(node: &Value, labels: &BTreeMap<&str, String>) -> NodeRef {
    let tab = node["z"].as_str().filter(|it| !it.is_empty());
    NodeRef {
        id: text(node, "id"),
        kind: text(node, "type"),
        name: text(node, "name"),
        tab: tab.map(str::to_owned),
        tab_label: tab.and_then(|it| labels.get(it).cloned()),
    }
}

fn wires_diff(a: &Nodes<'_>, b: &Nodes<'_>) -> WiresDiff {
    let (a, b) = (wires(a), wires(b));
    WiresDiff {
        added: b.difference(&a).cloned().collect(),
        removed: a.difference(&b).cloned().collect(),
    }
}

fn wires(nodes: &Nodes<'_>) -> BTreeSet<Wire> {
    let mut all = BTreeSet::new();
    for (id, node) in nodes {
        for (port, ends) in node["wires"].as_array().into_iter().flatten().enumerate() {
            let ends = ends.as_array().into_iter().flatten();
            all.extend(ends.filter_map(Value::as_str).map(|to| Wire {
                from: (*id).to_owned(),
                port,
                to: to.to_owned(),
            }));
        }
    }
    all
}

fn modules_diff(a: &[Installed], b: &[Installed]) -> ModulesDiff {
    let find = |all: &[Installed], name: &str| {
        let found = all.iter().find(|it| it.name == name);
        found.map(|it| it.version.clone())
    };
    let without = |those: &[Installed], but: &[Installed]| -> Vec<ModuleVersion> {
        let gone = those.iter().filter(|it| find(but, &it.name).is_none());
        gone.map(ModuleVersion::from).collect()
    };
    let changed = b.iter().filter_map(|after| {
        let from = find(a, &after.name).filter(|it| *it != after.version)?;
        Some(ModuleChange {
            name: after.name.clone(),
            from,
            to: after.version.clone(),
        })
    });
    ModulesDiff {
        added: without(b, a),
        removed: without(a, b),
        changed: changed.collect(),
    }
}

fn env_diff(a: &[EnvVar], b: &[EnvVar]) -> EnvDiff {
    let find = |all: &[EnvVar], name: &str| all.iter().find(|it| it.name == name).cloned();
    let without = |those: &[EnvVar], but: &[EnvVar]| -> Vec<String> {
        let gone = those.iter().filter(|it| find(but, &it.name).is_none());
        gone.map(|it| it.name.clone()).collect()
    };
    let differs = |it: &&EnvVar| find(a, &it.name).is_some_and(|before| before != **it);
    EnvDiff {
        added: without(b, a),
        removed: without(a, b),
        changed: b.iter().filter(differs).map(|it| it.name.clone()).collect(),
    }
}

fn credentials_diff(a: &Content, b: &Content) -> Vec<String> {
    let ids: BTreeSet<&str> = [a, b]
        .iter()
        .flat_map(|it| &it.flows.nodes)
        .filter_map(|it| it["id"].as_str())
        .collect();
    let differs = |id: &&str| a.digests.get(*id) != b.digests.get(*id);
    ids.into_iter().filter(differs).map(str::to_owned).collect()
}
