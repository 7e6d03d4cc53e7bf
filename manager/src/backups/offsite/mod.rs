//! Copies of good backups in a bucket: brought there, kept for so many days,
//! deleted with their backup, and fetched back when the file here is gone.
//!
//! Invariant: an instance's newest copy is never deleted for its age.
mod copy;
mod fetch;
mod store;
mod tidy;
