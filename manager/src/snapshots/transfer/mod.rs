//! A snapshot as one file below a passphrase, and back.
mod file;

use chrono::SubsecRound as _;
use serde_json::Value;

use super::{
    Error, Snapshot, Snapshots,
    model::{Content, Flows, Label, digests, parse_description},
    reading::State,
    service::{Taking, deflate, event, inflate},
};
use crate::{
    audit,
    crypto::random_salt,
    identity::Role,
    kernel::{Actor, InstanceId, Secret, SnapshotId},
    stacks::{Env, EnvVar},
};
use file::{Head, Inner, SnapshotFile};

pub(super) use file::SnapshotFile as File;

const PASSPHRASE_CHARS: std::ops::RangeInclusive<usize> = 12..=256;
/// Of the sealed part in base64, so that an import's body can hold it.
const SEALED_BYTES_MAX: usize = 15 << 20;
const MODULES_MAX: usize = 200;

impl Snapshots {
    /// The snapshot with its credentials, below the passphrase. For members:
    /// whoever knows the passphrase can read the credentials.
    pub(super) async fn export(
        &self,
        actor: &Actor,
        id: SnapshotId,
        passphrase: &Secret,
    ) -> Result<(Snapshot, SnapshotFile), Error> {
        check(passphrase)?;
        let (tx, it) = self.open(actor, id, Role::Member).await?;
        let (content, sealed) = self.content(tx, &it).await?;
        let salt = random_salt();
        let derived = self.parts.passwords.derive(passphrase, salt).await;
        let key = derived.ok_or(Error::Broken("no key could be derived"))?;
        let inner = Inner {
            description: it.description.clone(),
            author: it.author.clone(),
            flows: content.flows.text,
            credentials: self.unseal(id, &sealed)?,
            modules: content.modules,
            env: content.env,
        };
        let head = Head {
            name: it.name.clone(),
            engine: it.engine,
            engine_version: it.engine_version.clone(),
            created_at: it.created_at.trunc_subsecs(0),
        };
        let file = self
            .blocking(move || {
                let inner = serde_json::to_vec(&inner).unwrap_or_default();
                let file = SnapshotFile::seal(head, salt, &key, &deflate(&inner)?);
                let file = file.ok_or(Error::TooLarge)?;
                (file.sealed_bytes() <= SEALED_BYTES_MAX)
                    .then_some(file)
                    .ok_or(Error::TooLarge)
            })
            .await?;
        let mut tx = self.parts.db.begin_as(actor).await?;
        audit::record(
            &mut tx,
            actor,
            self.now(),
            event("snapshot.export", &it, serde_json::json!({})),
        )
        .await?;
        tx.commit().await?;
        Ok((it, file))
    }

    /// A new snapshot of the instance, out of a file.
    pub(super) async fn import(
        &self,
        actor: &Actor,
        id: InstanceId,
        (file, passphrase): (Value, &Secret),
        name: Option<&str>,
    ) -> Result<Snapshot, Error> {
        check(passphrase)?;
        let outline = self.outline(actor, id, Role::Member).await?;
        let file = SnapshotFile::parse(file).map_err(Error::BadFile)?;
        if file.head().engine != outline.instance.engine {
            return Err(Error::OtherEngine);
        }
        let derived = self.parts.passwords.derive(passphrase, file.salt()).await;
        let key = derived.ok_or(Error::Broken("no key could be derived"))?;
        let digest_key = self.parts.digest_key.clone();
        let (head, description, state) = self
            .blocking(move || {
                let compressed = file.open(&key).map_err(Error::BadFile)?;
                let inner = inflate(&compressed).and_then(|it| serde_json::from_slice(&it).ok());
                let inner: Inner = inner.ok_or_else(|| bad("it does not hold a snapshot"))?;
                let head = file.head().clone();
                let description = parse_description(&inner.description)?;
                let state = state(&head, inner, &digest_key)?;
                Ok((head, description, state))
            })
            .await?;
        let mut label = Label::parse(name, None, &head.name)?;
        label.description = description;
        let taking = Taking {
            detail: serde_json::json!({"from": "file", "takenAt": head.created_at}),
            ..Taking::manual(actor, label)
        };
        let kept = self.keep(actor, id, state, taking).await?;
        kept.ok_or(Error::Broken("it was not kept"))
    }
}

fn check(passphrase: &Secret) -> Result<(), Error> {
    let chars = passphrase.expose().chars().count();
    if PASSPHRASE_CHARS.contains(&chars) {
        return Ok(());
    }
    Err(Error::BadPassphrase)
}

fn bad(why: &str) -> Error {
    Error::BadFile(format!("The file cannot be imported: {why}."))
}

/// A file that opens may still have been written by anybody.
fn state(head: &Head, inner: Inner, digest_key: &Secret) -> Result<State, Error> {
    let flows = Flows::parse(head.engine, inner.flows).map_err(|why| bad(&why))?;
    if !inner.credentials.values().all(Value::is_object) {
        return Err(bad("its credentials are not ordered by node"));
    }
    let plain = inner.modules.iter().all(|it| it.wanted().is_plain());
    if !plain || MODULES_MAX < inner.modules.len() {
        return Err(bad("it names modules that cannot be any"));
    }
    Env::parse(inner.env.iter().map(with_value).collect(), &Env::default())
        .map_err(|error| bad(&error.to_string()))?;
    let content = Content {
        engine: head.engine,
        engine_version: head.engine_version.chars().take(64).collect(),
        flows,
        modules: inner.modules,
        env: inner.env,
        digests: digests(digest_key, &inner.credentials),
    };
    Ok(State {
        content,
        credentials: Ok(inner.credentials),
    })
}

/// A secret one comes without.
fn with_value(it: &EnvVar) -> EnvVar {
    EnvVar {
        value: Some(it.value.clone().unwrap_or_default()),
        ..it.clone()
    }
}
