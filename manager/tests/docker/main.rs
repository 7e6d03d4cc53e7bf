//! The Docker driver on the real engine.
mod away;
mod containers;
mod firewall;
mod hardening;
mod isolation;
mod network;
mod support;
mod watching;
