//! What happened at the broker lately, for the people of the project.
//!
//! Invariant: nobody who reports an event waits for the database; what does not
//! fit is counted and left out.
pub(super) mod http;
mod model;
mod service;
mod sink;
mod store;
mod writer;

use model::{Event, EventKind};
use sink::Entry;
pub use sink::{EventSink, Who};
pub(super) use writer::EventWriter;
