use chrono::{DateTime, TimeDelta, Utc};

use crate::{
    backups::{Error, Keep, Policy, Schedule, Settings},
    crypto,
    engines::Engine,
    kernel::{InstanceId, ProjectId},
};

const KEEP_MAX: u32 = 1000;

/// A policy as a request says it.
#[derive(Clone, Debug)]
pub(in crate::backups) struct NewPolicy {
    pub(in crate::backups) enabled: bool,
    pub(in crate::backups) schedule: Option<String>,
    pub(in crate::backups) keep: Option<Keep>,
}

impl NewPolicy {
    pub(super) fn check(self) -> Result<Policy, Error> {
        if let Some(keep) = self.keep {
            let counts = [keep.daily, keep.weekly, keep.monthly];
            if counts.iter().any(|it| KEEP_MAX < *it) || counts == [0, 0, 0] {
                return Err(Error::BadKeep);
            }
        }
        let schedule = match self.schedule {
            Some(text) => Some(Schedule::parse(&text)?.to_string()),
            None => None,
        };
        Ok(Policy {
            enabled: self.enabled,
            schedule,
            keep: self.keep,
        })
    }
}

/// What holds for an instance, and when its next turn is.
#[derive(Clone, Debug)]
pub(in crate::backups) struct PolicyInForce {
    pub(in crate::backups) policy: Policy,
    /// It is the installation's.
    pub(in crate::backups) inherited: bool,
    /// Over how long from a time of the schedule on the start may be.
    pub(in crate::backups) window: TimeDelta,
    pub(in crate::backups) next_at: Option<DateTime<Utc>>,
    /// Since when a good backup has been due that neither exists nor is under
    /// way.
    pub(in crate::backups) late_since: Option<DateTime<Utc>>,
}

/// An instance that may have its turn.
#[derive(Clone, Debug)]
pub(in crate::backups) struct Candidate {
    pub(in crate::backups) instance: InstanceId,
    pub(in crate::backups) project: ProjectId,
    pub(in crate::backups) name: String,
    pub(in crate::backups) engine: Engine,
    pub(in crate::backups) engine_version: String,
    /// `None`: the installation's.
    pub(in crate::backups) policy: Option<Policy>,
    /// From where the next turn is counted.
    pub(in crate::backups) counted_from: DateTime<Utc>,
}

impl Candidate {
    /// When its next turn is; in the past when it was missed.
    pub(in crate::backups) fn next_turn(&self, settings: &Settings) -> Option<DateTime<Utc>> {
        let own = match &self.policy {
            Some(policy) if !policy.enabled => return None,
            Some(policy) => policy.schedule.as_deref(),
            None => None,
        };
        match own {
            // Somebody chose that very time. What cannot be read was stored by
            // a later version, and waits for it.
            Some(text) => Schedule::parse(text).ok()?.next_after(self.counted_from),
            None => settings.schedule.as_ref()?.turn_after(
                self.counted_from,
                settings.window,
                spread(self.instance),
            ),
        }
    }
}

/// From 0 to 1, always the same for an instance.
fn spread(id: InstanceId) -> f64 {
    let hash = crypto::sha256(&id.to_string());
    f64::from(u16::from_be_bytes([hash[0], hash[1]])) / 65_536.0
}
