//! The installation as a whole in one file: the database, all data folders,
//! the settings, and the keys when they are asked for. `openflow backup --all`
//! makes it, `openflow restore` brings it back on a bare machine.
//!
//! Reading order: `manifest` (what is in it), `container` (the file), then
//! `back_up` with `database::dump`, and `archive`, `place` with
//! `database::load`.
//!
//! Invariant: until an archive and its keys are found good, a restore writes
//! nothing. From then on the file `restore.unfinished` is in the data folder,
//! and nothing starts there until the restore is over or taken back.
mod archive;
mod back_up;
mod container;
mod database;
mod folders;
mod keys;
mod manifest;
mod place;
mod settings;
mod space;
mod watch;

pub use archive::Archive;
pub use back_up::{BackUp, Made, back_up};
pub use database::{NotEmptied, Target, load, refuse_used, target_of, wipe};
pub use keys::{KEY_FILES, KeySource, Keys};
pub use manifest::{DatabaseInfo, InstanceInfo, Manifest, Member, Table};
pub use place::{Place, refuse_unfinished};
pub use settings::{Given, settings_text};
pub use watch::{Silent, Watch};
