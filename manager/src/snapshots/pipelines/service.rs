use serde_json::json;

use super::{NewPipeline, NewStage, Pipeline, store};
use crate::{
    audit::{self, Event},
    db::Tx,
    identity::Role,
    instances::restores::Restore,
    kernel::{Actor, DomainError as _, InstanceId, Kind, PipelineId, ProjectId},
    snapshots::{
        Error, Snapshot, Snapshots,
        diff::Side,
        model::Label,
        plan::{Choice, RestorePlan, Source},
        service::Taking,
    },
};

const PIPELINES_MAX: i64 = 50;

impl Snapshots {
    /// All of a project's pipelines.
    pub(super) async fn pipelines(
        &self,
        actor: &Actor,
        project: ProjectId,
    ) -> Result<Vec<Pipeline>, Error> {
        let mut tx = self.project(actor, project, Role::Viewer).await?;
        let mut all = Vec::new();
        for id in store::ids(&mut tx, project).await? {
            all.extend(store::get(&mut tx, id).await?);
        }
        Ok(all)
    }

    async fn project(&self, actor: &Actor, project: ProjectId, role: Role) -> Result<Tx, Error> {
        let mut tx = self.parts.db.begin_as(actor).await?;
        self.parts
            .identity
            .require(&mut tx, actor, project, role)
            .await?;
        Ok(tx)
    }

    async fn open_pipeline(
        &self,
        actor: &Actor,
        id: PipelineId,
        role: Role,
    ) -> Result<(Tx, Pipeline), Error> {
        let mut tx = self.parts.db.begin_as(actor).await?;
        let it = store::get(&mut tx, id)
            .await?
            .ok_or(Error::PipelineNotFound)?;
        let required = self
            .parts
            .identity
            .require(&mut tx, actor, it.project, role);
        match required.await {
            Err(error) if error.kind() == Kind::NotFound => Err(Error::PipelineNotFound),
            other => Ok(other.map(|_| (tx, it))?),
        }
    }

    pub(super) async fn pipeline(&self, actor: &Actor, id: PipelineId) -> Result<Pipeline, Error> {
        Ok(self.open_pipeline(actor, id, Role::Viewer).await?.1)
    }

    pub(super) async fn create_pipeline(
        &self,
        actor: &Actor,
        project: ProjectId,
        new: NewPipeline,
    ) -> Result<Pipeline, Error> {
        let mut tx = self.project(actor, project, Role::Owner).await?;
        if PIPELINES_MAX <= store::count(&mut tx, project).await? {
            return Err(Error::TooManyPipelines(PIPELINES_MAX));
        }
        let now = self.now();
        let it = Pipeline {
            id: PipelineId::new(),
            project,
            name: new.name,
            stages: Vec::new(),
            created_at: now,
            updated_at: now,
        };
        store::insert(&mut tx, &it).await?;
        self.write_stages(tx, actor, "pipeline.create", (it, new.stages))
            .await
    }

    pub(super) async fn put_pipeline(
        &self,
        actor: &Actor,
        id: PipelineId,
        new: NewPipeline,
    ) -> Result<Pipeline, Error> {
        let (mut tx, mut it) = self.open_pipeline(actor, id, Role::Owner).await?;
        it.name = new.name;
        it.updated_at = self.now();
        store::rename(&mut tx, &it).await?;
        self.write_stages(tx, actor, "pipeline.update", (it, new.stages))
            .await
    }

    async fn write_stages(
        &self,
        mut tx: Tx,
        actor: &Actor,
        action: &'static str,
        (it, stages): (Pipeline, Vec<NewStage>),
    ) -> Result<Pipeline, Error> {
        if !store::set_stages(&mut tx, &it, &stages).await? {
            return Err(Error::BadStages(
                "Every stage is an instance of the pipeline's project.",
            ));
        }
        let stage =
            |it: &NewStage| json!({"instanceId": it.instance, "needsOwner": it.needs_owner});
        let detail = json!({"stages": stages.iter().map(stage).collect::<Vec<_>>()});
        audit::record(&mut tx, actor, self.now(), event(action, &it).with(detail)).await?;
        let written = store::get(&mut tx, it.id).await?;
        tx.commit().await?;
        written.ok_or(Error::PipelineNotFound)
    }

    pub(super) async fn delete_pipeline(&self, actor: &Actor, id: PipelineId) -> Result<(), Error> {
        let (mut tx, it) = self.open_pipeline(actor, id, Role::Owner).await?;
        store::delete(&mut tx, id).await?;
        audit::record(&mut tx, actor, self.now(), event("pipeline.delete", &it)).await?;
        Ok(tx.commit().await?)
    }

    /// What [`Snapshots::promote`] would do now.
    pub(super) async fn plan_promotion(
        &self,
        actor: &Actor,
        id: PipelineId,
        from: InstanceId,
        choice: Choice,
    ) -> Result<RestorePlan, Error> {
        let (_, to) = self.promotion(actor, id, from).await?;
        let outline = self.outline(actor, from, Role::Member).await?;
        let source = Source {
            side: Side {
                name: outline.instance.name.clone(),
                ..Side::now()
            },
            state: self.read(&outline).await?,
        };
        self.plan_of(actor, source, to, choice).await
    }

    /// Takes a snapshot of the stage and puts it into the next one. A member
    /// may, and where that stage demands it only an owner.
    pub(super) async fn promote(
        &self,
        actor: &Actor,
        id: PipelineId,
        from: InstanceId,
        choice: Choice,
    ) -> Result<(Snapshot, Restore), Error> {
        let (pipeline, to) = self.promotion(actor, id, from).await?;
        let (source, target) = pipeline.step(from)?;
        let label = Label::ours(&format!(
            "{}: {} to {}",
            pipeline.name, source.instance_name, target.instance_name
        ));
        let outline = self.outline(actor, from, Role::Member).await?;
        let state = self.read(&outline).await?;
        let detail = json!({"pipelineId": id});
        let taking = Taking {
            detail,
            ..Taking::manual(actor, label)
        };
        let kept = self.keep(actor, from, state, taking).await?;
        let snapshot = kept.ok_or(Error::Broken("it was not taken"))?;
        let choice = Choice {
            target: Some(to),
            ..choice
        };
        let restore = self.restore(actor, snapshot.id, choice).await?;
        let mut tx = self.parts.db.begin_as(actor).await?;
        let detail =
            json!({"from": from, "to": to, "snapshotId": snapshot.id, "restoreId": restore.id});
        let event = event("pipeline.promote", &pipeline).with(detail);
        audit::record(&mut tx, actor, self.now(), event).await?;
        tx.commit().await?;
        Ok((snapshot, restore))
    }

    /// The pipeline and the instance that is promoted to, if the actor may.
    async fn promotion(
        &self,
        actor: &Actor,
        id: PipelineId,
        from: InstanceId,
    ) -> Result<(Pipeline, InstanceId), Error> {
        let (tx, it) = self.open_pipeline(actor, id, Role::Member).await?;
        drop(tx);
        let to = it.step(from)?.1.instance;
        self.require_promoter(actor, from, to).await?;
        Ok((it, to))
    }

    /// Whether the actor may put what comes from one instance into another.
    /// Where any pipeline has that one as a stage that needs an owner, it takes
    /// an owner, whichever way it goes. What comes from the instance itself goes
    /// back without.
    pub async fn require_promoter(
        &self,
        actor: &Actor,
        from: InstanceId,
        to: InstanceId,
    ) -> Result<(), Error> {
        if from == to {
            return Ok(());
        }
        let parts = &self.parts;
        let (mut tx, target) = parts.instances.open(actor, to, Role::Viewer).await?;
        if store::needs_owner(&mut tx, to).await? {
            let identity = &parts.identity;
            identity
                .require(&mut tx, actor, target.project, Role::Owner)
                .await?;
        }
        Ok(())
    }
}

fn event(action: &'static str, it: &Pipeline) -> Event {
    Event::new(action, Some(it.project), "pipeline", it.id, &it.name)
}
