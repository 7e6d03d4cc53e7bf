use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::super::{Env, Error, model};
use crate::{
    engines::{Engine, Module},
    kernel::{StackId, TemplateId},
};

const DESCRIPTION_CHARS_MAX: usize = 1000;
const MODULES_MAX: usize = 50;
const FLOWS_BYTES_MAX: usize = 1024 * 1024;

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
    /// As the engine's editor exports them.
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
    pub fn check(self, engine: Engine) -> Result<Self, Error> {
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
            check_flows(flows, engine)?;
        }
        Ok(Self {
            name: model::parse_name(&self.name)?,
            resources: self.resources.check()?,
            ..self
        })
    }
}

fn check_module(module: &Module) -> Result<(), Error> {
    if module.is_plain() {
        return Ok(());
    }
    Err(Error::BadTemplate {
        field: "modules",
        detail:
            "A module is an npm name such as node-red-node-random, with an exact version or none."
                .to_owned(),
    })
}

fn check_flows(flows: &Value, engine: Engine) -> Result<(), Error> {
    let bad = |detail: String| Error::BadTemplate {
        field: "flows",
        detail,
    };
    if FLOWS_BYTES_MAX < flows.to_string().len() {
        return Err(bad(format!("Flows are at most {FLOWS_BYTES_MAX} bytes.")));
    }
    engine.kind().check_template(flows).map_err(bad)
}
