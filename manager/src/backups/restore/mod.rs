//! Putting a backup back: into its instance, another or a new one. The files
//! are put beside here; the reconciler exchanges them
//! ([`crate::instances::restores`]).
mod model;
mod service;
mod staging;

pub(super) use model::{NewTarget, Target};
