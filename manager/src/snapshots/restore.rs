//! Putting a snapshot back, or into another instance. What is written stands
//! beside until the reconciler exchanges it (`instances::restores`).
use super::{
    Error, SnapshotKind, Snapshots,
    diff::Side,
    model::Label,
    plan::{self, ActiveChoice, Choice, Planned, RestorePlan, Source, Target},
    reading::{Outline, State},
    service::{Taking, author_of},
};
use crate::{
    engines::{HandedOver, ReadError, Staged},
    identity::Role,
    instances::{
        self,
        restores::{Entries, NewRestore, Plan, Restore, SourceKind},
    },
    kernel::{Actor, InstanceId, SnapshotId},
};

/// A restore that may begin.
struct Ready {
    source: Source,
    target: Target,
    planned: Planned,
    choice: Choice,
}

impl Ready {
    /// Fails with [`Error::Blocked`] when something speaks against it.
    fn check(&self) -> Result<(), Error> {
        match &*self.planned.view.blockers {
            [] => Ok(()),
            blockers => Err(Error::Blocked(blockers.join(" "))),
        }
    }
}

impl Snapshots {
    /// What [`Snapshots::restore`] would do. A member of both projects asks.
    pub(super) async fn plan(
        &self,
        actor: &Actor,
        id: SnapshotId,
        choice: Choice,
    ) -> Result<RestorePlan, Error> {
        let (source, own) = self.source(actor, id).await?;
        let target = choice.target.unwrap_or(own);
        self.require_promoter(actor, own, target).await?;
        self.plan_of(actor, source, target, choice).await
    }

    pub(super) async fn plan_of(
        &self,
        actor: &Actor,
        source: Source,
        target: InstanceId,
        choice: Choice,
    ) -> Result<RestorePlan, Error> {
        let ready = self.prepare(actor, source, target, choice).await?;
        let mut view = ready.planned.view;
        if ready.target.outline.instance.restore.is_some() {
            let under_way = instances::Error::RestoreUnderWay;
            view.blockers.push(under_way.to_string());
        }
        Ok(view)
    }

    /// A member of both projects puts the snapshot into an instance; where a
    /// pipeline demands it, only an owner puts it into another one than its own.
    /// What is there is kept as a snapshot.
    pub(super) async fn restore(
        &self,
        actor: &Actor,
        id: SnapshotId,
        choice: Choice,
    ) -> Result<Restore, Error> {
        let (source, own) = self.source(actor, id).await?;
        let target = choice.target.unwrap_or(own);
        self.require_promoter(actor, own, target).await?;
        let ready = self.prepare(actor, source, target, choice).await?;
        if ready.target.outline.instance.restore.is_some() {
            return Err(instances::Error::RestoreUnderWay.into());
        }
        ready.check()?;
        let new = NewRestore {
            source_kind: SourceKind::Snapshot,
            source_id: id.0,
            source_name: ready.source.side.name.clone(),
        };
        let restore = self
            .parts
            .instances
            .begin_restore(actor, target, new)
            .await?;
        // Whoever asked may hang up; what was begun goes on.
        let (this, actor) = (self.clone(), actor.clone());
        tokio::spawn(async move { this.carry_out(&actor, id, &restore, ready).await })
            .await
            .unwrap_or_else(|error| Err(Error::Staging(error.to_string())))
    }

    /// The snapshot with its credentials in the open, and its instance.
    pub(super) async fn source(
        &self,
        actor: &Actor,
        id: SnapshotId,
    ) -> Result<(Source, InstanceId), Error> {
        let (tx, it) = self.open(actor, id, Role::Member).await?;
        let (content, sealed) = self.content(tx, &it).await?;
        let credentials = self.unseal(id, &sealed);
        let source = Source {
            side: Side::of(&it),
            state: State {
                content,
                credentials,
            },
        };
        Ok((source, it.instance))
    }

    async fn prepare(
        &self,
        actor: &Actor,
        source: Source,
        target: InstanceId,
        choice: Choice,
    ) -> Result<Ready, Error> {
        let outline = self.outline(actor, target, Role::Member).await?;
        self.compare(source, outline, choice).await
    }

    /// Reads what is there now, and plans.
    async fn compare(
        &self,
        source: Source,
        outline: Outline,
        choice: Choice,
    ) -> Result<Ready, Error> {
        let state = match self.read(&outline).await {
            Err(error) if !error.is_of_content() => return Err(error),
            other => other,
        };
        let target = Target { outline, state };
        self.blocking(move || {
            let planned = plan::plan(&source, &target, choice.credentials);
            Ok(Ready {
                source,
                target,
                planned,
                choice,
            })
        })
        .await
    }

    async fn carry_out(
        &self,
        actor: &Actor,
        id: SnapshotId,
        restore: &Restore,
        ready: Ready,
    ) -> Result<Restore, Error> {
        let instances = &self.parts.instances;
        let staging = self.stage(actor, id, restore, ready);
        match instances.restore_alive(restore.id, staging).await {
            Ok(plan) => Ok(instances.restore_staged(restore, &plan).await?),
            Err(error) => {
                let why = error.to_string();
                instances.restore_not_staged(restore, &why).await?;
                Err(error)
            }
        }
    }

    async fn stage(
        &self,
        actor: &Actor,
        id: SnapshotId,
        restore: &Restore,
        ready: Ready,
    ) -> Result<Plan, Error> {
        let instances = &self.parts.instances;
        // Read again: since it was planned, somebody may have deployed or changed
        // a password.
        let Ready {
            source,
            target,
            choice,
            ..
        } = ready;
        let ready = self.compare(source, target.outline, choice).await?;
        ready.check()?;
        self.keep_what_is_there(actor, Some(id), restore, ready.target.state)
            .await?;
        let key = instances.credential_secret(restore.instance).await?;
        let (into, owner) = (instances.staging(restore), instances.data_owner());
        let flows = ready.source.state.content.flows.text;
        let credentials = ready.planned.credentials;
        let (kind, inactive) = (
            ready.target.outline.instance.engine.kind(),
            ready.choice.active == ActiveChoice::Clear,
        );
        let handed = self
            .blocking(move || {
                let staged = Staged {
                    flows: &flows,
                    credentials: &credentials,
                    key: &key,
                    owner,
                    inactive,
                };
                kind.stage(&into, &staged)
                    .map_err(|error| Error::Staging(error.to_string()))
            })
            .await?;
        if ready.choice.add_env {
            instances
                .add_env(actor, restore.instance, ready.planned.env)
                .await?;
        }
        Ok(Plan {
            entries: match handed {
                HandedOver::Files(names) => Entries::Files(names),
                HandedOver::Running => Entries::Handed,
            },
            modules: ready.planned.modules,
        })
    }

    /// Keeps what the instance holds before its data are exchanged. Fails only
    /// when there is something that could be kept and was not.
    pub async fn before_restore(&self, actor: &Actor, restore: &Restore) -> Result<(), Error> {
        let mut outline = self.outline(actor, restore.instance, Role::Member).await?;
        let mut state = self.read(&outline).await;
        let is_away = matches!(state, Err(Error::Read(ReadError::Away(_))));
        if is_away && outline.instance.seen.upstream.take().is_some() {
            // It runs and hangs. It will be stopped anyway: what its folder
            // holds is read as if it were.
            state = self.read(&outline).await;
        }
        self.keep_what_is_there(actor, None, restore, state).await
    }

    /// What is too broken to be kept does not hinder its repair.
    async fn keep_what_is_there(
        &self,
        actor: &Actor,
        spare: Option<SnapshotId>,
        restore: &Restore,
        state: Result<State, Error>,
    ) -> Result<(), Error> {
        let taking = Taking {
            kind: SnapshotKind::BeforeRestore,
            label: Label::ours(&format!("Before restoring {}", restore.source_name)),
            author: author_of(actor),
            only_if_changed: false,
            spare,
            detail: serde_json::json!({ "restoreId": restore.id }),
        };
        let kept = async { self.keep(actor, restore.instance, state?, taking).await };
        match kept.await {
            Err(error) if error.is_of_content() => {
                let note =
                    format!("What was there before could not be kept as a snapshot: {error}");
                Ok(self.parts.instances.restore_note(restore.id, &note).await?)
            }
            other => other.map(|_| ()),
        }
    }
}
