//! What one instance may have, by the operator's word and the engine's.
use super::{Error, Settings};
use crate::{engines::Engine, stacks::templates::Resources};

impl Settings {
    /// What the operator says, or what the engine needs to be of use.
    pub(super) fn default_memory_mb(&self, engine: Engine) -> i32 {
        let needed = engine.facts().memory_mb_default;
        self.memory_mb_default.max(needed.min(self.memory_mb_max))
    }

    /// What the operator lets one instance have, and what the engine needs.
    pub(super) fn check_limits(&self, asked: Resources, engine: Engine) -> Result<(), Error> {
        let (memory_mb, cpus) = (self.memory_mb_max, self.cpus_max);
        let over = asked.memory_mb.is_some_and(|it| memory_mb < it)
            || asked.cpus.is_some_and(|it| cpus < it);
        if over {
            return Err(Error::OverLimit { memory_mb, cpus });
        }
        let given = asked
            .memory_mb
            .unwrap_or_else(|| self.default_memory_mb(engine));
        if given < engine.facts().memory_mb_min {
            return Err(Error::TooLittleMemory(engine));
        }
        Ok(())
    }
}
