//! What is kept: one backup a day, a week and a month, for as many of them as
//! the policy says.
mod jobs;
mod retention;
mod service;
mod store;

pub use jobs::Measure;
