//! Making backups: one manager of the cluster leads (`leader`) and takes what
//! waits, one after the other (`one`).
mod freezer;
mod leader;
mod one;
mod recovery;
pub(super) mod store;
mod verify;

pub use leader::Runner;
