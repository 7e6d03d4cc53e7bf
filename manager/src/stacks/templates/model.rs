use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::super::{Env, Error, model};
use crate::kernel::{StackId, TemplateId};

const DESCRIPTION_CHARS_MAX: usize = 1000;
const MODULES_MAX: usize = 50;
const FLOWS_BYTES_MAX: usize = 1024 * 1024;
const MODULE_NAME_BYTES_MAX: usize = 214;

/// An npm module that the engine loads nodes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Module {
    /// As in the npm registry, `@scope/name` or `name`.
    pub name: String,
    /// An exact version; the newest when absent.
    #[serde(default)]
    pub version: Option<String>,
}

/// What a container may use at the most. An absent value takes the default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Resources {
    /// MiB of memory, 64 to 65536.
    #[serde(default)]
    pub memory_mb: Option<i32>,
    /// Cores, 0.1 to 64.
    #[serde(default)]
    pub cpus: Option<f64>,
}

impl Resources {
    /// These where they say something, else `base`'s.
    pub fn over(self, base: Self) -> Self {
        Self {
            memory_mb: self.memory_mb.or(base.memory_mb),
            cpus: self.cpus.or(base.cpus),
        }
    }

    pub fn check(self) -> Result<Self, Error> {
        let bad = |detail: &str| Error::BadTemplate {
            field: "resources",
            detail: detail.to_owned(),
        };
        if self.memory_mb.is_some_and(|it| !(64..=65536).contains(&it)) {
            return Err(bad("memoryMb is a number from 64 to 65536."));
        }
        if self.cpus.is_some_and(|it| !(0.1..=64.0).contains(&it)) {
            return Err(bad("cpus is a number from 0.1 to 64."));
        }
        Ok(self)
    }
}

#[derive(Clone, Debug)]
pub struct Template {
    pub id: TemplateId,
    pub stack: StackId,
    pub name: String,
    pub description: String,
    pub env: Env,
    pub modules: Vec<Module>,
    /// Node-RED's flows, an array of nodes.
    pub flows: Option<Value>,
    pub resources: Resources,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

impl Template {
    pub(in super::super) fn plain(
        stack: StackId,
        name: &str,
        description: &str,
        flows: Option<Value>,
        now: DateTime<Utc>,
    ) -> Self {
        Self {
            id: TemplateId::new(),
            stack,
            name: name.to_owned(),
            description: description.to_owned(),
            env: Env::default(),
            modules: Vec::new(),
            flows,
            resources: Resources::default(),
            created_at: now,
            updated_at: now,
        }
    }
}

/// What an administrator says of a template, checked but for its environment,
/// which may keep stored secrets.
#[derive(Clone, Debug)]
pub struct NewTemplate {
    pub name: String,
    pub description: String,
    pub modules: Vec<Module>,
    pub flows: Option<Value>,
    pub resources: Resources,
}

impl NewTemplate {
    pub fn check(self) -> Result<Self, Error> {
        if DESCRIPTION_CHARS_MAX < self.description.chars().count() {
            let detail = format!("A description is at most {DESCRIPTION_CHARS_MAX} characters.");
            return Err(Error::BadTemplate {
                field: "description",
                detail,
            });
        }
        if MODULES_MAX < self.modules.len() {
            let detail = format!("At most {MODULES_MAX} modules.");
            return Err(Error::BadTemplate {
                field: "modules",
                detail,
            });
        }
        for module in &self.modules {
            check_module(module)?;
        }
        if let Some(flows) = &self.flows {
            check_flows(flows)?;
        }
        Ok(Self {
            name: model::parse_name(&self.name)?,
            resources: self.resources.check()?,
            ..self
        })
    }
}

impl Module {
    /// Whether it can be nothing but a module of the npm registry.
    pub fn is_plain(&self) -> bool {
        check_module(self).is_ok()
    }
}

/// Names and versions go into a request to the engine, which hands them to
/// npm: nothing but a plain registry name and version passes.
fn check_module(module: &Module) -> Result<(), Error> {
    let part = |text: &str| {
        !text.is_empty()
            && text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c))
    };
    let name_fits = module.name.len() <= MODULE_NAME_BYTES_MAX
        && match module.name.strip_prefix('@') {
            Some(scoped) => scoped
                .split_once('/')
                .is_some_and(|(scope, name)| part(scope) && part(name)),
            None => part(&module.name),
        };
    let version_fits = module.version.as_deref().is_none_or(|it| {
        it.len() <= 64
            && it.starts_with(|c: char| c.is_ascii_digit())
            && it
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "-.+".contains(c))
    });
    if name_fits && version_fits {
        return Ok(());
    }
    Err(Error::BadTemplate {
        field: "modules",
        detail:
            "A module is an npm name such as node-red-node-random, with an exact version or none."
                .to_owned(),
    })
}

fn check_flows(flows: &Value) -> Result<(), Error> {
    let bad = |detail: String| Error::BadTemplate {
        field: "flows",
        detail,
    };
    let nodes = flows.as_array().ok_or_else(|| {
        bad("Flows are an array of nodes, as the editor's export gives them.".to_owned())
    })?;
    let whole = |node: &Value| node["id"].is_string() && node["type"].is_string();
    if !nodes.iter().all(whole) {
        return Err(bad(
            "Every node of the flows has an id and a type.".to_owned()
        ));
    }
    if FLOWS_BYTES_MAX < flows.to_string().len() {
        return Err(bad(format!("Flows are at most {FLOWS_BYTES_MAX} bytes.")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_are_plain_registry_names() {
        let module = |name: &str, version: Option<&str>| Module {
            name: name.to_owned(),
            version: version.map(str::to_owned),
        };
        for good in [
            module("node-red-node-random", None),
            module("@a/b.c", Some("1.2.3-beta.1")),
        ] {
            assert!(check_module(&good).is_ok(), "{good:?}");
        }
        for bad in [
            module("", None),
            module("../etc", None),
            module("git+https://x", None),
            module("@a", None),
            module("a", Some("file:../x")),
            module("a", Some("latest; rm")),
            module("--registry=http://evil", None),
        ] {
            assert!(check_module(&bad).is_err(), "{bad:?}");
        }
    }
}
