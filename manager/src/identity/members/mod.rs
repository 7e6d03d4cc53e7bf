//! Who may what in a project.
pub(super) mod http;
mod model;
mod service;
pub(super) mod store;

pub(super) use model::Member;
use model::NewMember;
