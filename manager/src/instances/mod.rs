//! A project's running engines: what should run, and making it so. Requests
//! write the intent (`service`, `names`), the reconciler makes it true
//! (`reconcile/`), `decide` is its whole judgement.
//!
//! Invariant: whatever the manager was doing when it was killed, the next pass
//! of the reconciler ends in the desired state, and never in an orphan.
mod above;
mod data;
mod database;
mod decide;
mod environment;
mod error;
mod events;
mod freeze;
mod hostname;
pub mod http;
mod inside;
mod launch;
mod limits;
mod model;
mod names;
mod reconcile;
mod rehearsal;
pub mod restores;
mod secrets;
mod seen;
mod service;
mod settings;
mod site;
mod spec;
mod store;
mod upgrade;
mod views;
mod webhook;
mod whole;

pub use above::Origin;
pub use data::DataFolders;
pub use database::{Dump, forget_database};
pub use error::Error;
pub use hostname::Hostname;
pub(crate) use model::text_enum;
pub use model::{Desired, Instance, NewInstance, Status, WebhookAccess};
pub use reconcile::Reconciler;
pub use rehearsal::DataCopy;
pub use service::{Instances, Parts};
pub use settings::{Routing, Settings};
pub use upgrade::BeforeUpgrade;
pub use whole::{Listed, after_restore_of_all, list_all};
