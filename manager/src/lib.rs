//! The control plane. Start reading at `app.rs`, then any slice.
pub mod app;
pub mod audit;
pub mod cli;
pub mod config;
pub mod crypto;
pub mod db;
pub mod jobs;
pub mod kernel;
pub mod runtime;
pub mod web;
