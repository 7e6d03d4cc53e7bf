//! How many watch: each holds a connection to the broker and some megabytes.
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::kernel::ProjectId;

pub(super) const PER_PROJECT_MAX: usize = 8;
pub(super) const ALL_MAX: usize = 32;

/// Counts those of this manager.
#[derive(Clone, Default)]
pub(super) struct Watchers(Arc<Mutex<HashMap<ProjectId, usize>>>);

/// One watcher's place, given back when dropped.
pub(super) struct Place {
    watchers: Watchers,
    project: ProjectId,
}

impl Watchers {
    /// `None` when there is no place.
    pub(super) fn enter(&self, project: ProjectId) -> Option<Place> {
        let mut counts = self.counts();
        let all: usize = counts.values().sum();
        let here = counts.get(&project).copied().unwrap_or(0);
        if ALL_MAX <= all || PER_PROJECT_MAX <= here {
            return None;
        }
        counts.insert(project, here + 1);
        Some(Place {
            watchers: self.clone(),
            project,
        })
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<ProjectId, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.watchers.counts();
        match counts.get_mut(&self.project) {
            Some(n) if 1 < *n => *n -= 1,
            _ => _ = counts.remove(&self.project),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_limited_and_given_back() {
        let watchers = Watchers::default();
        let project = ProjectId::new();
        let enter =
            |project, n| -> Vec<Place> { (0..n).map_while(|_| watchers.enter(project)).collect() };
        let mine = enter(project, 100);
        assert_eq!(mine.len(), PER_PROJECT_MAX);
        let others: Vec<_> = (0..100).flat_map(|_| enter(ProjectId::new(), 1)).collect();
        assert_eq!(others.len(), ALL_MAX - PER_PROJECT_MAX);
        drop(mine);
        assert_eq!(enter(project, 100).len(), PER_PROJECT_MAX);
        drop(others);
        assert!(watchers.counts().is_empty());
    }
}
