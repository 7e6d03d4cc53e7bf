//! Copies of whole data folders: made by a schedule or on demand, read back,
//! kept for days, weeks and months, and put back.
//!
//! Each sub-slice adds its use cases to [`Backups`]: `policies` (whose turn it
//! is), `run` (making them), `keep` (which ones stay), `restore` (putting them
//! back), `rehearse` (trying them out), `transfer` (files out of and into the installation).
//!
//! Invariant: a backup that is not whole is never listed as good.
mod ending;
mod error;
mod files;
pub mod http;
mod keep;
mod model;
mod offsite;
mod policies;
mod rehearse;
mod restore;
mod run;
mod schedule;
mod service;
mod settings;
mod store;
mod transfer;
mod views;

pub use error::Error;
pub use keep::Measure;
pub use model::{
    About, Backup, BackupStatus, Keep, Offsite, OffsiteStatus, SkippedFile, Trigger, Verification,
    VerificationLevel, VerificationStatus, credential_place,
};
use model::{Archive, Outcome, Policy, Seen, Term};
use restore::{NewTarget, Target};
pub use run::Runner;
pub use schedule::Schedule;
pub use service::{Backups, Parts};
pub use settings::Settings;
