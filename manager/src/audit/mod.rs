//! Who changed what and when. Every change writes its line in its own
//! transaction, so there is no change without a line and no line without one.
mod error;
pub mod http;
mod model;
mod service;
mod store;

pub use error::Error;
pub use model::{Entry, Event, Filter, Target};
pub use service::{Audit, record};
