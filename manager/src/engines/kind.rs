//! The seam: what the rest of the manager asks of an engine.
use std::{
    io,
    path::{Path, PathBuf},
};

use async_trait::async_trait;
use serde_json::Value;

use super::{Admin, Credentials, CredentialsError, Facts, Module, ReadError, Sealed};
use crate::kernel::Secret;

/// Name and content of a file that a data folder begins with.
pub type FirstFile = (&'static str, Vec<u8>);

/// One kind of engine. `key` is always the secret that the engine encrypts the
/// instance's own credentials with.
#[async_trait]
pub trait Kind: Send + Sync {
    fn facts(&self) -> &'static Facts;

    /// Variables of the container that only this engine reads. They stand
    /// above the user's own.
    fn env(&self, it: &Surroundings<'_>) -> Vec<(&'static str, String)>;

    /// Files that only the container gets to see, mounted read-only at
    /// `/run/openflow`: unlike variables, they do not show where containers
    /// are inspected.
    fn secret_files(&self, key: &Secret) -> Vec<(&'static str, Secret)>;

    /// Whether a template's `flows` are such as the engine takes. Fails with
    /// the reason, for a person.
    fn check_template(&self, flows: &Value) -> Result<(), String>;

    /// What a new data folder begins with, `flows` being the template's.
    fn first_files(&self, flows: Option<&Value>, key: &Secret) -> Vec<FirstFile>;

    /// What a new instance is told once, at its first good start, of the
    /// template's flows, and what a person should know of how it went. Fails
    /// with the reason, for a person.
    async fn seed(&self, admin: &Admin, flows: Option<&Value>) -> Result<Option<String>, String>;

    /// Flows as nodes, whatever they are for the engine: objects with `id`
    /// (each once), `type`, `name` and `z` (the id of the tab that they are
    /// on), `wires` (by output, lists of ids), `x`, `y` and further fields; a
    /// tab has the type `tab` and a `label`. What two states differ in is told
    /// by them. Fails with the reason, for a person.
    fn nodes(&self, flows: &str) -> Result<Vec<Value>, String>;

    /// How many nodes and tabs to speak of.
    fn counts(&self, nodes: &[Value]) -> (usize, usize);

    /// What the instance holds now. It runs on meanwhile.
    async fn read(&self, site: &Site<'_>) -> Result<Sealed, ReadError>;

    /// Decrypts the credentials that [`Kind::read`] gave.
    fn open(&self, key: &Secret, credentials: &[u8]) -> Result<Credentials, CredentialsError>;

    /// What a credential becomes that both a snapshot and the instance have.
    fn carry(&self, _own: &Value, snapshot: &Value) -> Value {
        snapshot.clone()
    }

    /// Puts what is restored into the new folder `into`.
    fn stage(&self, into: &Path, staged: &Staged<'_>) -> io::Result<HandedOver>;

    /// Gives the running engine what [`Kind::stage`] put beside for it, and
    /// tells what a person should know of how it went. All or nothing; doing
    /// it twice does no harm. `Err` when it was refused, with the reason.
    async fn hand_over(&self, admin: &Admin, staged: &Path) -> Result<Option<String>, Refused>;

    /// Fails with the reason, for a person. One that is there is fine.
    async fn install(&self, admin: &Admin, module: &Module) -> Result<(), String>;

    /// Fits a copy of an instance's data to where it goes: to another key, and
    /// a dump into a database. Doing it twice does no harm. `Err` with the
    /// reason, for a person.
    async fn fit(&self, site: &Site<'_>, from: &Secret, to: &Secret) -> Result<(), String>;

    /// Writes the file [`Postgres::dump_file`](super::Postgres) while the engine runs on or
    /// stands still. `Err` with the reason, for a person.
    async fn dump(&self, _site: &Site<'_>) -> Result<(), String> {
        Err("this engine has no database".to_owned())
    }
}

/// How a staged restore comes to the engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HandedOver {
    /// These names in the data folder are exchanged while it is stopped.
    Files(Vec<String>),
    /// The running engine is asked to take it.
    Running,
}

/// Why the engine did not take what it was handed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// It said no, and nothing was changed.
    No(String),
    /// It may have taken it or not: to be asked again.
    Unknown(String),
}

/// What an engine's variables depend on.
#[derive(Clone, Copy, Debug)]
pub struct Surroundings<'a> {
    pub memory_mb: i32,
    /// The user's own `NODE_OPTIONS`.
    pub node_options: &'a str,
    pub key: &'a Secret,
}

/// What goes into an instance with a restore.
#[derive(Clone, Copy, Debug)]
pub struct Staged<'a> {
    pub flows: &'a str,
    pub credentials: &'a Credentials,
    pub key: &'a Secret,
    /// Numeric user and group of what is in data folders.
    pub owner: (u32, u32),
    /// Leave switched off what starts by itself.
    pub inactive: bool,
}

/// Where an instance's data is, and how to come to it.
pub struct Site<'a> {
    pub folder: PathBuf,
    pub owner: (u32, u32),
    /// Only while it runs.
    pub admin: Option<Admin>,
    pub once: &'a dyn OneShot,
}

/// Runs a program of the engine's image once, without network, the site's
/// folder at `/data`.
#[async_trait]
pub trait OneShot: Send + Sync {
    /// Its exit status and the end of what it printed to stderr. `secrets` are
    /// files below `/run/openflow`. Fails with the reason, for a person.
    async fn run(
        &self,
        folder: &Path,
        command: Vec<String>,
        secrets: Vec<(&'static str, Secret)>,
    ) -> Result<(Option<i64>, String), String>;
}
