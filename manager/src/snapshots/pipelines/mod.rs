//! The ways that flows go: ordered instances of a project, promoted from one
//! to the next in one call.
pub(super) mod http;
mod model;
mod service;
mod store;

pub use model::{NewPipeline, NewStage, Pipeline, Stage};
