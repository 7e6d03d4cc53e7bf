//! EMQX as its documented contract has it: a management API in this process,
//! and Mosquitto where a broker has to speak MQTT.
#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]
mod doctor;
mod driver;
mod fake;
mod tls;
mod trouble;
mod watch;
