//! The database by itself: every row of every table of ours, as PostgreSQL's
//! own COPY text. No `pg_dump` of the right version is needed, and a dump of an
//! older PostgreSQL loads into a newer one.
//!
//! Invariant: a dump is one moment's (one snapshot), and a load is one
//! transaction.
pub(super) mod copy_text;
mod dump;
mod load;
mod order;
mod store;

pub(super) use dump::{Dump, dump};
pub(super) use load::refuse_newer;
pub use load::{NotEmptied, Target, load, refuse_used, target_of, wipe};
