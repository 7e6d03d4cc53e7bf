//! Named starting points. What a template says is copied into an instance when
//! that is created; later changes do not reach it.
pub mod http;
mod model;
mod service;
mod store;

pub use model::{NewTemplate, Resources, Template};
pub use service::Templates;
pub use store::get;
pub(super) use store::insert;
