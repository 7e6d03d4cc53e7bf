use std::collections::HashSet;

use chrono::{DateTime, Utc};

use crate::{
    kernel::{InstanceId, PipelineId, ProjectId},
    snapshots::{Error, model},
};

const STAGES: std::ops::RangeInclusive<usize> = 2..=20;

#[derive(Clone, Debug)]
pub struct Pipeline {
    pub id: PipelineId,
    pub project: ProjectId,
    pub name: String,
    /// In the order of promotion. A deleted instance is gone from it.
    pub stages: Vec<Stage>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

#[derive(Clone, Debug)]
pub struct Stage {
    pub instance: InstanceId,
    pub instance_name: String,
    pub subdomain: String,
    /// Only an owner promotes to it, or restores into it what comes from another
    /// instance.
    pub needs_owner: bool,
}

/// As asked for, checked.
#[derive(Clone, Debug)]
pub struct NewPipeline {
    pub(super) name: String,
    pub(super) stages: Vec<NewStage>,
}

#[derive(Clone, Copy, Debug)]
pub struct NewStage {
    pub instance: InstanceId,
    pub needs_owner: bool,
}

impl NewPipeline {
    pub(super) fn parse(name: &str, stages: Vec<NewStage>) -> Result<Self, Error> {
        if !STAGES.contains(&stages.len()) {
            return Err(Error::BadStages("A pipeline has 2 to 20 stages."));
        }
        let mut seen = HashSet::new();
        if !stages.iter().all(|it| seen.insert(it.instance)) {
            return Err(Error::BadStages("An instance is a stage only once."));
        }
        Ok(Self {
            name: model::parse_name(name)?,
            stages,
        })
    }
}

impl Pipeline {
    /// The stage of that instance, and the one after it.
    pub(super) fn step(&self, from: InstanceId) -> Result<(&Stage, &Stage), Error> {
        let at = self.stages.iter().position(|it| it.instance == from);
        let at = at.ok_or(Error::NotAStage)?;
        let next = self.stages.get(at + 1).ok_or(Error::LastStage)?;
        Ok((&self.stages[at], next))
    }
}
