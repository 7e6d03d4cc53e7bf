//! The control plane. Start reading at `app.rs`, then any slice.
pub mod audit;
pub mod crypto;
pub mod db;
pub mod identity;
pub mod jobs;
pub mod kernel;
pub mod runtime;
pub mod web;
