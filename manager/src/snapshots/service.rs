use std::{
    io::{Read as _, Write as _},
    sync::Arc,
};

use chrono::{DateTime, Utc};
use flate2::{Compression, read::ZlibDecoder, write::ZlibEncoder};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::{
    Error, Snapshot, SnapshotKind,
    deploys::Deploys,
    diff::{self, Side, SnapshotDiff},
    model::{self, Content, Flows, Label},
    reading::State,
    store::{self, Heavy, Stored},
};
use crate::{
    access::Access,
    audit::{self, Event},
    crypto::{KeyRing, Passwords},
    db::{Db, Tx},
    engines::{Credentials, FLOWS_BYTES_MAX},
    identity::{Identity, Role},
    instances::Instances,
    kernel::{
        Actor, Clock, DomainError as _, InstanceId, Kind, Page, PageRequest, Secret, SnapshotId,
    },
};

const MANUAL_MAX: i64 = 200;
const READS_AT_ONCE: usize = 2;
/// More than one tenant has reason to ask for.
const ASKS_AT_ONCE: usize = 16;

/// What the slice is built from.
pub struct Parts {
    pub db: Db,
    pub clock: Arc<dyn Clock>,
    pub keys: Arc<KeyRing>,
    pub identity: Identity,
    pub access: Access,
    pub instances: Instances,
    pub passwords: Passwords,
    /// For the keyed hashes.
    pub digest_key: Secret,
}

/// The use cases of this slice. Cheap to clone.
#[derive(Clone)]
pub struct Snapshots {
    pub(super) parts: Arc<Parts>,
    pub(super) reads: Arc<Semaphore>,
    /// Instances are waited for apart from the work on what they said.
    pub(super) asks: Arc<Semaphore>,
    pub(super) deploys: Deploys,
}

/// How a snapshot comes to be.
pub(super) struct Taking {
    pub(super) kind: SnapshotKind,
    pub(super) label: Label,
    /// Who, for the list; the audit log has the actor.
    pub(super) author: String,
    /// Not when the newest snapshot has the same content.
    pub(super) only_if_changed: bool,
    /// Not removed to make room.
    pub(super) spare: Option<SnapshotId>,
    /// What else the audit log says.
    pub(super) detail: Value,
}

impl Taking {
    pub(super) fn manual(actor: &Actor, label: Label) -> Self {
        Self {
            kind: SnapshotKind::Manual,
            label,
            author: author_of(actor),
            only_if_changed: false,
            spare: None,
            detail: json!({}),
        }
    }
}

/// How a person is called in lists.
pub(super) fn author_of(actor: &Actor) -> String {
    match actor {
        Actor::User(user) => user.name.clone(),
        Actor::Setup { .. } => "setup".to_owned(),
        Actor::System(name) => (*name).to_owned(),
    }
}

impl Snapshots {
    pub fn new(parts: Parts) -> Self {
        Self {
            parts: Arc::new(parts),
            reads: Arc::new(Semaphore::new(READS_AT_ONCE)),
            asks: Arc::new(Semaphore::new(ASKS_AT_ONCE)),
            deploys: Deploys::default(),
        }
    }

    pub(super) fn now(&self) -> DateTime<Utc> {
        self.parts.clock.now()
    }

    /// A snapshot of what is, taken by a member.
    pub(super) async fn take(
        &self,
        actor: &Actor,
        id: InstanceId,
        label: Label,
        detail: Value,
    ) -> Result<Snapshot, Error> {
        let outline = self.outline(actor, id, Role::Member).await?;
        let state = self.read(&outline).await?;
        let taking = Taking {
            detail,
            ..Taking::manual(actor, label)
        };
        let taken = self.keep(actor, id, state, taking).await?;
        taken.ok_or(Error::Broken("it was not taken"))
    }

    /// Stores what was read; `None` when nothing has changed and that was not
    /// wanted.
    pub(super) async fn keep(
        &self,
        actor: &Actor,
        id: InstanceId,
        state: State,
        taking: Taking,
    ) -> Result<Option<Snapshot>, Error> {
        let keys = &self.parts.keys;
        let snapshot = SnapshotId::new();
        let credentials = serde_json::to_vec(&state.credentials?).unwrap_or_default();
        let credentials_sealed = keys.seal(&store::credentials_place(snapshot), &credentials);
        let (key, content) = (self.parts.digest_key.clone(), state.content);
        let (content, content_digest, flows) = self
            .blocking(move || {
                let flows = deflate(content.flows.text.as_bytes())?;
                let digest = content.digest(&key);
                Ok((content, digest, flows))
            })
            .await?;

        // Locks the instance's row: one after the other.
        let (mut tx, instance) = self.parts.instances.open_live(actor, id).await?;
        if taking.only_if_changed
            && let Some(same) = store::newest_if(&mut tx, id, &content_digest).await?
        {
            tracing::debug!(
                "nothing has changed since snapshot {same} of {}",
                instance.name
            );
            return Ok(None);
        }
        if taking.kind == SnapshotKind::Manual
            && MANUAL_MAX <= store::count(&mut tx, id, taking.kind).await?
        {
            return Err(Error::TooMany(MANUAL_MAX));
        }
        let (nodes, tabs) = content.engine.kind().counts(&content.flows.nodes);
        let number = |it: usize| i32::try_from(it).unwrap_or(i32::MAX);
        let it = Snapshot {
            id: snapshot,
            instance: id,
            project: instance.project,
            kind: taking.kind,
            name: taking.label.name,
            description: taking.label.description,
            author: taking.author,
            engine: content.engine,
            nodes: number(nodes),
            tabs: number(tabs),
            credentials: number(content.credential_count()),
            engine_version: content.engine_version,
            modules: content.modules,
            env: content.env,
            size_bytes: i64::try_from(flows.len() + credentials_sealed.len()).unwrap_or(i64::MAX),
            created_at: self.now(),
        };
        let stored = Stored {
            flows,
            credentials_sealed,
            digests: content.digests,
            content_digest,
        };
        store::insert(&mut tx, keys, &it, &stored).await?;
        if let Some(keep) = it.kind.kept() {
            store::trim(&mut tx, id, it.kind, keep, taking.spare).await?;
        }
        audit::record(
            &mut tx,
            actor,
            self.now(),
            event("snapshot.create", &it, taking.detail),
        )
        .await?;
        tx.commit().await?;
        Ok(Some(it))
    }

    /// The snapshot in a transaction of the actor's, who has at least `role`
    /// in its project. To a stranger it does not exist.
    pub(super) async fn open(
        &self,
        actor: &Actor,
        id: SnapshotId,
        role: Role,
    ) -> Result<(Tx, Snapshot), Error> {
        let parts = &self.parts;
        let mut tx = parts.db.begin_as(actor).await?;
        let found = store::get(&mut tx, &parts.keys, id).await?;
        let it = found.ok_or(Error::NotFound)?;
        let required = parts.identity.require(&mut tx, actor, it.project, role);
        match required.await {
            Err(error) if error.kind() == Kind::NotFound => Err(Error::NotFound),
            other => Ok(other.map(|_| (tx, it))?),
        }
    }

    pub(super) async fn list(
        &self,
        actor: &Actor,
        id: InstanceId,
        kind: Option<SnapshotKind>,
        page: PageRequest,
    ) -> Result<Page<Snapshot>, Error> {
        let (mut tx, _) = self.parts.instances.open(actor, id, Role::Viewer).await?;
        let found = store::list(&mut tx, &self.parts.keys, id, kind, page).await?;
        Ok(Page::cut(found, page, |it| it.id.0))
    }

    /// With its content; credentials stay sealed.
    pub(super) async fn get(
        &self,
        actor: &Actor,
        id: SnapshotId,
    ) -> Result<(Snapshot, Content), Error> {
        let (tx, it) = self.open(actor, id, Role::Viewer).await?;
        let (content, _) = self.content(tx, &it).await?;
        Ok((it, content))
    }

    /// The content, and the credentials as they are stored.
    pub(super) async fn content(
        &self,
        mut tx: Tx,
        it: &Snapshot,
    ) -> Result<(Content, Vec<u8>), Error> {
        let Heavy {
            flows,
            credentials_sealed,
            digests,
        } = store::heavy(&mut tx, it.id).await?.ok_or(Error::NotFound)?;
        drop(tx);
        let engine = it.engine;
        let flows = self
            .blocking(move || {
                let text = inflate(&flows).and_then(|it| String::from_utf8(it).ok());
                let text = text.ok_or(Error::Broken("flows"))?;
                Flows::parse(engine, text).map_err(|_| Error::Broken("flows"))
            })
            .await?;
        let content = Content {
            engine: it.engine,
            engine_version: it.engine_version.clone(),
            flows,
            modules: it.modules.clone(),
            env: it.env.clone(),
            digests,
        };
        Ok((content, credentials_sealed))
    }

    /// In the open.
    pub(super) fn unseal(&self, id: SnapshotId, sealed: &[u8]) -> Result<Credentials, Error> {
        let plain = self
            .parts
            .keys
            .open(&store::credentials_place(id), sealed)?;
        serde_json::from_slice(&plain).map_err(|_| Error::Broken("credentials"))
    }

    pub(super) async fn patch(
        &self,
        actor: &Actor,
        id: SnapshotId,
        name: Option<&str>,
        description: Option<&str>,
    ) -> Result<Snapshot, Error> {
        let (mut tx, mut it) = self.open(actor, id, Role::Member).await?;
        if let Some(name) = name {
            it.name = model::parse_name(name)?;
        }
        if let Some(description) = description {
            it.description = model::parse_description(description)?;
        }
        store::relabel(&mut tx, id, &it.name, &it.description).await?;
        audit::record(
            &mut tx,
            actor,
            self.now(),
            event("snapshot.update", &it, json!({})),
        )
        .await?;
        tx.commit().await?;
        Ok(it)
    }

    pub(super) async fn delete(&self, actor: &Actor, id: SnapshotId) -> Result<(), Error> {
        let (mut tx, it) = self.open(actor, id, Role::Member).await?;
        store::delete(&mut tx, id).await?;
        audit::record(
            &mut tx,
            actor,
            self.now(),
            event("snapshot.delete", &it, json!({})),
        )
        .await?;
        Ok(tx.commit().await?)
    }

    /// From the snapshot to another one, or (`None`) to what runs now.
    pub(super) async fn diff(
        &self,
        actor: &Actor,
        from: SnapshotId,
        to: Option<SnapshotId>,
    ) -> Result<SnapshotDiff, Error> {
        let (snapshot, before) = self.get(actor, from).await?;
        let (side, after) = match to {
            Some(to) => {
                let (it, content) = self.get(actor, to).await?;
                (Side::of(&it), content)
            }
            None => {
                let outline = self.outline(actor, snapshot.instance, Role::Viewer).await?;
                (Side::now(), self.read(&outline).await?.content)
            }
        };
        self.blocking(move || Ok(diff::diff((Side::of(&snapshot), &before), (side, &after))))
            .await
    }
}

/// A line of the audit log about a snapshot.
pub(super) fn event(action: &'static str, it: &Snapshot, mut detail: Value) -> Event {
    detail["instanceId"] = json!(it.instance);
    detail["kind"] = json!(it.kind);
    detail["author"] = json!(it.author);
    Event::new(action, Some(it.project), "snapshot", it.id, &it.name).with(detail)
}

/// zlib.
pub(super) fn deflate(bytes: &[u8]) -> Result<Vec<u8>, Error> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder
        .write_all(bytes)
        .and_then(|()| encoder.finish())
        .map_err(|error| Error::Staging(error.to_string()))
}

/// `None` when it is damaged, or larger than any flow file with what belongs
/// to it.
pub(super) fn inflate(bytes: &[u8]) -> Option<Vec<u8>> {
    const BYTES_MAX: u64 = 2 * FLOWS_BYTES_MAX;
    let mut out = Vec::new();
    let mut decoder = ZlibDecoder::new(bytes).take(BYTES_MAX + 1);
    decoder.read_to_end(&mut out).ok()?;
    (out.len() as u64 <= BYTES_MAX).then_some(out)
}
