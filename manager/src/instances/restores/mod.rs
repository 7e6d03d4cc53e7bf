//! Replacing an instance's data, so that whatever is killed at whatever
//! moment, the instance ends as it was or as restored, never between.
//!
//! A slice above begins a restore, puts the files beside
//! ([`Instances::staging`]) and says so ([`Instances::restore_staged`]). The
//! reconciler does the rest: stop, exchange by renames (`swap`), start,
//! install modules; healthy, or exchange back.
pub(super) mod http;
mod jobs;
mod model;
mod service;
pub(super) mod store;
pub(super) mod swap;

pub use http::{RestoreProgress, RestoreView};
pub use jobs::CleanUp;
pub use model::{Entries, NewRestore, Plan, Restore, RestoreState, SourceKind};
