use crate::{
    backups::Error,
    engines::Storage,
    kernel::{InstanceId, ProjectId},
    stacks::Stack,
};

use super::super::About;

/// Where a backup is restored to.
#[derive(Clone, Debug)]
pub(in crate::backups) enum Target {
    /// The instance that it was made of.
    Own,
    Other(InstanceId),
    New(NewTarget),
}

/// An instance that is made for it.
#[derive(Clone, Debug)]
pub(in crate::backups) struct NewTarget {
    pub(in crate::backups) name: String,
    pub(in crate::backups) subdomain: String,
    /// `None`: the backup's.
    pub(in crate::backups) project: Option<ProjectId>,
}

/// Fails when an instance of that stack cannot use the data: another engine, or
/// one older than the engine that wrote it.
pub(super) fn check_engine(about: &About, stack: &Stack) -> Result<(), Error> {
    if about.engine != stack.engine {
        return Err(Error::OtherEngine {
            backup: about.engine.as_str(),
            instance: stack.engine.as_str(),
        });
    }
    if about.storage != stack.storage {
        let words = |it| match it {
            Storage::Files => "in files",
            Storage::Postgres => "in PostgreSQL",
        };
        return Err(Error::OtherStorage {
            backup: words(about.storage),
            instance: words(stack.storage),
        });
    }
    match (numbers(&about.engine_version), numbers(&stack.version)) {
        (Some(backup), Some(instance)) if instance < backup => Err(Error::NewerEngine {
            backup: about.engine_version.clone(),
            instance: stack.version.clone(),
        }),
        _ => Ok(()),
    }
}

/// `5.0.7` and `5.0.7-beta` as numbers; `None` for what is no version.
fn numbers(version: &str) -> Option<[u64; 3]> {
    let release = version.split(['-', '+']).next()?;
    let mut numbers = [0; 3];
    let parts: Vec<&str> = release.split('.').collect();
    if parts.len() > numbers.len() {
        return None;
    }
    for (number, part) in numbers.iter_mut().zip(parts) {
        *number = part.parse().ok()?;
    }
    Some(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        for (older, newer) in [("5.0.7", "5.0.10"), ("4.9.9", "5"), ("5.0", "5.0.1")] {
            assert!(numbers(older) < numbers(newer), "{older} {newer}");
        }
        assert_eq!(numbers("5.0.7-beta.1"), Some([5, 0, 7]));
        for none in ["", "unknown", "5.x", "1.2.3.4"] {
            assert_eq!(numbers(none), None, "{none}");
        }
    }
}
