//! The control plane. Start reading at `app/build.rs`, then any slice.
pub mod access;
pub mod app;
pub mod audit;
pub mod cli;
pub mod config;
pub mod crypto;
pub mod db;
pub mod identity;
pub mod installation;
pub mod instances;
pub mod jobs;
pub mod kernel;
pub mod mqtt;
pub mod routing;
pub mod runtime;
pub mod stacks;
pub mod web;
