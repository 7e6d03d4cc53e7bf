//! What a restore would do, and whether it may. Pure.
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::{
    Error,
    diff::{self, ModuleVersion, NodeRef, Side, SnapshotDiff},
    fit::Fit,
    model::{Content, Flows},
    reading::{Outline, State},
};
use crate::{
    engines::{Credentials, Installed, Module, ReadError},
    instances::Desired,
    kernel::InstanceId,
    stacks::EnvVar,
};

/// Whose credentials win where both have some.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum CredentialChoice {
    /// The snapshot's.
    #[default]
    Snapshot,
    /// The target's own, for nodes that have some there already.
    Keep,
}

/// Whether workflows run afterwards; for engines that switch them one by one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum ActiveChoice {
    /// Those do that did when the snapshot was taken.
    #[default]
    Keep,
    /// None does.
    Clear,
}

/// Where a snapshot goes, and how.
#[derive(Clone, Copy, Debug)]
pub(super) struct Choice {
    /// The snapshot's own instance when absent.
    pub(super) target: Option<InstanceId>,
    pub(super) credentials: CredentialChoice,
    /// Set the variables that the target lacks and that are not secret.
    pub(super) add_env: bool,
    pub(super) active: ActiveChoice,
}

/// What a restore would do to the instance.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct RestorePlan {
    instance_id: InstanceId,
    /// From what runs there to the snapshot.
    diff: SnapshotDiff,
    modules: ModulesPlan,
    env: EnvPlan,
    credentials: CredentialsPlan,
    engine: EnginePlan,
    /// Why it would be refused; empty when it would not.
    pub(super) blockers: Vec<String>,
    /// What hinders nothing and is worth knowing.
    warnings: Vec<String>,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
struct ModulesPlan {
    /// What the target lacks; installed with the restore.
    install: Vec<ModuleVersion>,
    /// Present in another version, which stays.
    differ: Vec<ModuleDiffers>,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
struct ModuleDiffers {
    name: String,
    here: String,
    snapshot: String,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
struct EnvPlan {
    /// What the target lacks; `addEnv` sets those that are not secret.
    missing: Vec<MissingVar>,
    /// Names with other values, which stay.
    differ: Vec<String>,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
struct MissingVar {
    name: String,
    secret: bool,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
struct CredentialsPlan {
    /// So many nodes get theirs from the snapshot.
    carried: usize,
    /// So many keep the target's own.
    kept: usize,
    /// Nodes that have credentials in the target and would have none.
    missing: Vec<NodeRef>,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
struct EnginePlan {
    here: String,
    snapshot: String,
    compatible: bool,
}

/// What is restored.
pub(super) struct Source {
    pub(super) side: Side,
    pub(super) state: State,
}

/// What would be replaced.
pub(super) struct Target {
    pub(super) outline: Outline,
    /// An error when the content is no longer as the engine writes it.
    pub(super) state: Result<State, Error>,
}

/// A plan and what is needed to carry it out.
pub(super) struct Planned {
    pub(super) view: RestorePlan,
    /// For the target, in the open.
    pub(super) credentials: Credentials,
    pub(super) modules: Vec<Module>,
    /// What the target lacks and may be told.
    pub(super) env: Vec<EnvVar>,
}

pub(super) fn plan(source: &Source, target: &Target, choice: CredentialChoice) -> Planned {
    let content = &source.state.content;
    let nothing = nothing(content);
    let here = target.state.as_ref().map_or(&nothing, |it| &it.content);
    let merged = merge(source, target, choice);
    let modules = modules(content, here);
    let install: Vec<&Installed> = lacking(content, here).collect();
    let engine = EnginePlan {
        here: target.outline.engine_version.clone(),
        snapshot: content.engine_version.clone(),
        compatible: target.outline.instance.engine == content.engine
            && Fit::of(&content.engine_version, &target.outline.engine_version) != Fit::Not,
    };
    let view = RestorePlan {
        instance_id: target.outline.instance.id,
        diff: diff::diff((Side::now(), here), (source.side.clone(), content)),
        env: env(&content.env, &target.outline.env),
        blockers: blockers(source, target, choice, &install),
        warnings: warnings(source, target, &modules),
        credentials: CredentialsPlan {
            carried: merged.carried,
            kept: merged.kept,
            missing: missing(content, target, &merged.all),
        },
        modules,
        engine,
    };
    let names: Vec<&str> = view.env.missing.iter().map(|it| &*it.name).collect();
    let told = |it: &&EnvVar| !it.secret && names.contains(&&*it.name);
    Planned {
        credentials: merged.all,
        modules: install.iter().map(|it| it.wanted()).collect(),
        env: content.env.iter().filter(told).cloned().collect(),
        view,
    }
}

/// In place of what cannot be read.
fn nothing(like: &Content) -> Content {
    Content {
        engine: like.engine,
        engine_version: String::new(),
        flows: Flows::none(),
        modules: Vec::new(),
        env: Vec::new(),
        digests: BTreeMap::new(),
    }
}

struct Merged {
    all: Credentials,
    carried: usize,
    kept: usize,
}

fn merge(source: &Source, target: &Target, choice: CredentialChoice) -> Merged {
    let none = Credentials::new();
    let theirs = source.state.credentials.as_ref().unwrap_or(&none);
    let own = own(target).unwrap_or(&none);
    let mut merged = Merged {
        all: Credentials::new(),
        carried: 0,
        kept: 0,
    };
    let nodes = &source.state.content.flows.nodes;
    let kind = source.state.content.engine.kind();
    for id in nodes.iter().filter_map(|it| it["id"].as_str()) {
        let keep = choice == CredentialChoice::Keep;
        if let Some(own) = own.get(id).filter(|_| keep) {
            merged.all.insert(id.to_owned(), own.clone());
            merged.kept += 1;
        } else if let Some(carried) = theirs.get(id) {
            let carried = match own.get(id) {
                Some(own) => kind.carry(own, carried),
                None => carried.clone(),
            };
            merged.all.insert(id.to_owned(), carried);
            merged.carried += 1;
        }
    }
    merged
}

fn own(target: &Target) -> Option<&Credentials> {
    target.state.as_ref().ok()?.credentials.as_ref().ok()
}

fn missing(content: &Content, target: &Target, merged: &Credentials) -> Vec<NodeRef> {
    let Some(own) = own(target) else {
        return Vec::new();
    };
    let label = |it: &'_ Value| it["label"].as_str().unwrap_or_default().to_owned();
    let nodes = &content.flows.nodes;
    let labels = nodes
        .iter()
        .filter_map(|it| Some((it["id"].as_str()?, label(it))))
        .collect();
    let loses = |it: &&Value| {
        let id = it["id"].as_str().unwrap_or_default();
        own.contains_key(id) && !merged.contains_key(id)
    };
    let lost = nodes.iter().filter(loses);
    lost.map(|it| diff::node_ref(it, &labels)).collect()
}

fn lacking<'a>(content: &'a Content, here: &'a Content) -> impl Iterator<Item = &'a Installed> {
    let is_here = |name: &str| here.modules.iter().any(|it| it.name == name);
    content.modules.iter().filter(move |it| !is_here(&it.name))
}

fn modules(content: &Content, here: &Content) -> ModulesPlan {
    let differs = content.modules.iter().filter_map(|it| {
        let own = here.modules.iter().find(|own| own.name == it.name)?;
        (own.version != it.version).then(|| ModuleDiffers {
            name: it.name.clone(),
            here: own.version.clone(),
            snapshot: it.version.clone(),
        })
    });
    ModulesPlan {
        install: lacking(content, here).map(ModuleVersion::from).collect(),
        differ: differs.collect(),
    }
}

fn env(snapshot: &[EnvVar], here: &[EnvVar]) -> EnvPlan {
    let own = |name: &str| here.iter().find(|it| it.name == name);
    let missing = snapshot.iter().filter(|it| own(&it.name).is_none());
    let differ = snapshot
        .iter()
        .filter(|it| own(&it.name).is_some_and(|own| own != *it));
    EnvPlan {
        missing: missing
            .map(|it| MissingVar {
                name: it.name.clone(),
                secret: it.secret,
            })
            .collect(),
        differ: differ.map(|it| it.name.clone()).collect(),
    }
}

fn blockers(
    source: &Source,
    target: &Target,
    choice: CredentialChoice,
    install: &[&Installed],
) -> Vec<String> {
    let content = &source.state.content;
    let Outline {
        instance,
        engine_version: here,
        ..
    } = &target.outline;
    let mut all = Vec::new();
    if instance.engine != content.engine {
        all.push("The snapshot is of another engine than the instance.".to_owned());
    } else if Fit::of(&content.engine_version, here) == Fit::Not {
        all.push(format!(
            "The snapshot is of version {}, the instance runs {here}: give the instance a stack of the same major version first.",
            content.engine_version
        ));
    }
    if let Err(error) = &source.state.credentials {
        all.push(error.to_string());
    }
    if let Err(Error::Read(ReadError::NoData)) = &target.state {
        all.push(ReadError::NoData.to_string());
    }
    if choice == CredentialChoice::Keep && own(target).is_none() {
        all.push(
            "The instance's own credentials cannot be read, so they cannot be kept.".to_owned(),
        );
    }
    for module in install.iter().filter(|it| it.local) {
        all.push(format!(
            "The module {} did not come from the npm registry: install it in the instance first.",
            module.name
        ));
    }
    if instance.desired == Desired::Stopped && instance.engine.facts().restores_running {
        all.push(format!(
            "{} takes a snapshot only while it runs: start the instance first.",
            instance.engine.facts().title
        ));
    } else if instance.desired == Desired::Stopped && !install.is_empty() {
        all.push(
            "Modules are missing, and only a running instance can install them: start it first."
                .to_owned(),
        );
    }
    all
}

fn warnings(source: &Source, target: &Target, modules: &ModulesPlan) -> Vec<String> {
    let mut all = Vec::new();
    let (theirs, here) = (
        &source.state.content.engine_version,
        &target.outline.engine_version,
    );
    match Fit::of(theirs, here) {
        Fit::Unknown => all.push("It is not known whether the engine's versions fit.".to_owned()),
        Fit::Newer => all.push(format!(
            "The snapshot is of version {theirs}, newer than {here} here."
        )),
        Fit::Not | Fit::Well => {}
    }
    match &target.state {
        Err(error) => all.push(format!("What is there now cannot be kept: {error}")),
        Ok(State {
            credentials: Err(error),
            ..
        }) => all.push(format!("What is there now cannot be kept: {error}")),
        Ok(_) => {}
    }
    if !modules.differ.is_empty() {
        all.push("Modules of another version than the snapshot's stay as they are.".to_owned());
    }
    all
}
