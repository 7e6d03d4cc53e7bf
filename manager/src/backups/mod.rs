//! Copies of whole data folders: made by a schedule or on demand, read back,
//! kept for days, weeks and months, and put back.
//!
//! Invariant: a backup that is not whole is never listed as good.
mod error;
mod model;
mod store;

pub use error::Error;
pub use model::{
    About, Backup, BackupStatus, Keep, Offsite, OffsiteStatus, SkippedFile, Trigger, Verification,
    VerificationLevel, VerificationStatus, credential_place,
};
use model::{Outcome, Policy, Term};
