//! Whether an instance would live with what is in a backup: unpacked into a
//! throwaway folder, started in a throwaway container.
mod model;
mod service;
pub(super) mod store;

use model::{Judgement, judge};
