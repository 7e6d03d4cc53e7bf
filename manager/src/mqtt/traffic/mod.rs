//! A project's messages as people see them: the topic browser, and publishing
//! a test message.
//!
//! Invariant: a watcher costs a bounded amount of memory, whatever the project
//! publishes, and what was not shown is counted.
mod error;
pub mod http;
mod model;
mod rate;
mod service;
mod topics;
mod watchers;

pub use error::Error;
pub use service::{Parts, Traffic};
