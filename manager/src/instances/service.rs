use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::json;
use sqlx::PgConnection;

use super::{
    BeforeUpgrade, DataFolders, Desired, Error, Hostname, Instance, NewInstance, Settings, Status,
    WebhookAccess, inside,
    model::{self, Inside, Seen, WebhookMode},
    secrets::SecretFolders,
    store, webhook,
};
use crate::{
    access::{Access, InstanceKeys},
    audit,
    crypto::KeyRing,
    databases::Databases,
    db::{Changes, Db, Tx},
    identity::{Identity, Role},
    kernel::{Actor, Clock, InstanceId, Page, PageRequest, ProjectId, Secret, StackId, TemplateId},
    runtime::Runtime,
    stacks::{
        self, Env, EnvVar, Pick,
        templates::{self, Resources},
    },
};

/// What the slice is built from.
#[derive(Clone)]
pub struct Parts {
    pub db: Db,
    pub clock: Arc<dyn Clock>,
    pub keys: Arc<KeyRing>,
    pub identity: Identity,
    pub access: Access,
    pub changes: Changes,
    pub runtime: Arc<dyn Runtime>,
    pub databases: Databases,
    pub settings: Arc<Settings>,
}

#[derive(Clone)]
pub struct Instances {
    pub(super) parts: Parts,
    pub(super) folders: DataFolders,
    pub(super) secrets: SecretFolders,
    pub(super) before_upgrade: Option<Arc<dyn BeforeUpgrade>>,
}

/// How a new instance should be, besides its names.
#[derive(Clone, Debug, Default)]
pub(super) struct Choices {
    pub(super) template: Option<TemplateId>,
    pub(super) stack: Option<StackId>,
    pub(super) resources: Resources,
    pub(super) env: Vec<EnvVar>,
}

/// What a PATCH changes; what is `None` stays.
#[derive(Clone, Debug, Default)]
pub(super) struct Patch {
    pub(super) name: Option<String>,
    pub(super) subdomain: Option<String>,
    pub(super) stack: Option<StackId>,
    pub(super) resources: Resources,
    pub(super) webhook_access: Option<(WebhookMode, Option<String>, Option<Secret>)>,
}

impl Instances {
    pub fn new(parts: Parts) -> Self {
        let folders = DataFolders::new(&parts.settings.data_dir);
        let secrets = SecretFolders::new(&parts.settings.data_dir, folders.owner());
        Self {
            parts,
            folders,
            secrets,
            before_upgrade: None,
        }
    }

    pub(super) fn now(&self) -> DateTime<Utc> {
        self.parts.clock.now()
    }

    /// Writes down that an instance should run. The reconciler starts it.
    pub(super) async fn create(
        &self,
        actor: &Actor,
        project: ProjectId,
        new: NewInstance,
        choices: Choices,
    ) -> Result<Instance, Error> {
        let mut tx = self.parts.db.begin_as(actor).await?;
        let asked = (new, choices);
        let instance = self.create_in(&mut tx, actor, project, asked).await?;
        tx.commit().await?;
        Ok(instance)
    }

    pub(super) async fn create_in(
        &self,
        tx: &mut PgConnection,
        actor: &Actor,
        project: ProjectId,
        (new, choices): (NewInstance, Choices),
    ) -> Result<Instance, Error> {
        let identity = &self.parts.identity;
        identity.require(tx, actor, project, Role::Member).await?;
        if self.parts.settings.per_project_max <= store::count(tx, project).await? {
            return Err(Error::TooMany(self.parts.settings.per_project_max));
        }
        let (instance, inside) = self.draft(tx, project, new, choices).await?;
        store::insert(tx, &self.parts.keys, &instance, &inside).await?;
        let detail = json!({"subdomain": instance.subdomain.as_str(), "env": inside.env.names()});
        let event = instance.event("instance.create", detail);
        audit::record(tx, actor, self.now(), event).await?;
        Ok(instance)
    }

    /// What the template says, and the request above it.
    async fn draft(
        &self,
        tx: &mut PgConnection,
        project: ProjectId,
        new: NewInstance,
        choices: Choices,
    ) -> Result<(Instance, Inside), Error> {
        let template = match choices.template {
            Some(id) => Some(templates::get(tx, &self.parts.keys, id).await?),
            None => None,
        };
        let stack_id = choices.stack.or(template.as_ref().map(|it| it.stack));
        let stack = stacks::pick_ready(tx, Pick::from_choice(stack_id)).await?;
        let base = template.as_ref().map(|it| it.resources).unwrap_or_default();
        let resources = choices.resources.check()?.over(base);
        self.parts.settings.check_limits(resources, stack.engine)?;
        let env = Env::parse(choices.env, &Env::default())?;
        let now = self.now();
        let instance = Instance {
            id: InstanceId::new(),
            project,
            name: new.name,
            subdomain: new.subdomain,
            aliases: Vec::new(),
            engine: stack.engine,
            stack: stack.id,
            storage: stack.storage,
            desired: Desired::Running,
            restart_wanted: 0,
            memory_mb: resources
                .memory_mb
                .unwrap_or_else(|| self.parts.settings.default_memory_mb(stack.engine)),
            cpus: resources.cpus.unwrap_or(self.parts.settings.cpus_default),
            webhook_access: WebhookAccess {
                mode: WebhookMode::Open,
                username: None,
                secret_hash: None,
            },
            seen: Seen::new(),
            restore: None,
            awaits_data: false,
            frozen_until: None,
            created_at: now,
            updated_at: now,
        };
        let inside = match template {
            None => Inside {
                keys: InstanceKeys::generate(),
                env,
                modules: Vec::new(),
                flows: None,
            },
            Some(it) => Inside {
                keys: InstanceKeys::generate(),
                env: env.over(it.env),
                modules: it.modules,
                flows: it.flows,
            },
        };
        Ok((instance, inside))
    }

    pub(super) async fn list(
        &self,
        actor: &Actor,
        project: ProjectId,
        page: PageRequest,
    ) -> Result<Page<Instance>, Error> {
        let mut tx = self.parts.db.begin_as(actor).await?;
        self.parts
            .identity
            .require(&mut tx, actor, project, Role::Viewer)
            .await?;
        Ok(Page::cut(
            store::list(&mut tx, project, page).await?,
            page,
            |it| it.id.0,
        ))
    }

    /// For a viewer.
    pub async fn get(&self, actor: &Actor, id: InstanceId) -> Result<Instance, Error> {
        Ok(self.open(actor, id, Role::Viewer).await?.1)
    }

    /// The instance in a transaction of the actor's, who has at least `role`
    /// in its project. To a stranger it does not exist.
    pub async fn open(
        &self,
        actor: &Actor,
        id: InstanceId,
        role: Role,
    ) -> Result<(Tx, Instance), Error> {
        let mut tx = self.parts.db.begin_as(actor).await?;
        // A change is decided on the row that it will meet.
        if role != Role::Viewer {
            store::lock(&mut tx, id).await?;
        }
        let instance = store::get(&mut tx, id).await?.ok_or(Error::NotFound)?;
        self.require(&mut tx, actor, &instance, role).await?;
        Ok((tx, instance))
    }

    /// Like [`Identity::require`], but it is the instance that a stranger does
    /// not find.
    pub(super) async fn require(
        &self,
        tx: &mut PgConnection,
        actor: &Actor,
        instance: &Instance,
        role: Role,
    ) -> Result<(), Error> {
        use crate::kernel::{DomainError as _, Kind};
        match self
            .parts
            .identity
            .require(tx, actor, instance.project, role)
            .await
        {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == Kind::NotFound => Err(Error::NotFound),
            Err(error) => Err(error.into()),
        }
    }

    pub(super) async fn patch(
        &self,
        actor: &Actor,
        id: InstanceId,
        patch: Patch,
    ) -> Result<Instance, Error> {
        if let Some(stack) = patch.stack {
            self.announce_upgrade(actor, id, stack).await?;
        }
        let (mut tx, mut it) = self.open_live(actor, id).await?;
        if let Some(name) = &patch.name {
            it.name = model::parse_name(name)?;
        }
        if let Some(subdomain) = &patch.subdomain {
            let subdomain = Hostname::parse(subdomain, "subdomain")?;
            if subdomain != it.subdomain {
                store::move_subdomain(&mut tx, &it, &subdomain).await?;
                it.subdomain = subdomain;
            }
        }
        if let Some(stack) = patch.stack {
            let stack = stacks::pick_ready(&mut tx, Pick::Named(stack)).await?;
            if stack.engine != it.engine {
                return Err(Error::OtherEngine);
            }
            if stack.storage != it.storage {
                return Err(Error::OtherStorage);
            }
            it.stack = stack.id;
        }
        let resources = patch.resources.check()?;
        if resources != Resources::default() {
            self.parts.settings.check_limits(resources, it.engine)?;
        }
        it.memory_mb = resources.memory_mb.unwrap_or(it.memory_mb);
        it.cpus = resources.cpus.unwrap_or(it.cpus);
        if let Some((mode, username, secret)) = patch.webhook_access {
            it.webhook_access =
                webhook::webhook_access(mode, username, secret, &it.webhook_access)?;
        }
        it.updated_at = self.now();
        store::update(&mut tx, &it).await?;
        let detail = json!({"stackId": it.stack, "memoryMb": it.memory_mb, "cpus": it.cpus,
            "subdomain": it.subdomain.as_str(), "webhookAccess": it.webhook_access.mode});
        audit::record(
            &mut tx,
            actor,
            self.now(),
            it.event("instance.update", detail),
        )
        .await?;
        tx.commit().await?;
        Ok(it)
    }

    /// Asks for a start. One that already runs well is left alone; one that
    /// crashed, failed or is stopped is started afresh.
    pub(super) async fn start(&self, actor: &Actor, id: InstanceId) -> Result<Instance, Error> {
        self.intend(actor, id, "instance.start", |it| {
            let well = matches!(
                it.seen.status,
                Status::Creating | Status::Starting | Status::Running | Status::Unhealthy
            );
            if it.desired != Desired::Running || !well {
                it.restart_wanted += 1;
            }
            it.desired = Desired::Running;
        })
        .await
    }

    pub(super) async fn stop(&self, actor: &Actor, id: InstanceId) -> Result<Instance, Error> {
        self.intend(actor, id, "instance.stop", |it| {
            it.desired = Desired::Stopped
        })
        .await
    }

    /// A new container with the current settings; also starts a stopped one.
    pub(super) async fn restart(&self, actor: &Actor, id: InstanceId) -> Result<Instance, Error> {
        self.intend(actor, id, "instance.restart", |it| {
            it.desired = Desired::Running;
            it.restart_wanted += 1;
        })
        .await
    }

    /// Asks for removal, data and all. Asking again is fine.
    pub(super) async fn delete(&self, actor: &Actor, id: InstanceId) -> Result<Instance, Error> {
        let (tx, it) = self.open(actor, id, Role::Member).await?;
        if it.desired == Desired::Absent {
            return Ok(it);
        }
        drop(tx);
        self.intend(actor, id, "instance.delete", |it| {
            it.desired = Desired::Absent
        })
        .await
    }

    async fn intend(
        &self,
        actor: &Actor,
        id: InstanceId,
        action: &'static str,
        change: impl FnOnce(&mut Instance),
    ) -> Result<Instance, Error> {
        let (mut tx, mut it) = self.open_live(actor, id).await?;
        change(&mut it);
        it.updated_at = self.now();
        store::update(&mut tx, &it).await?;
        audit::record(&mut tx, actor, self.now(), it.event(action, json!({}))).await?;
        tx.commit().await?;
        Ok(it)
    }

    /// [`Instances::open`] for a member's change; one that is being deleted
    /// takes none.
    pub async fn open_live(&self, actor: &Actor, id: InstanceId) -> Result<(Tx, Instance), Error> {
        let (tx, it) = self.open(actor, id, Role::Member).await?;
        if it.desired == Desired::Absent {
            return Err(Error::Deleting);
        }
        Ok((tx, it))
    }

    /// What the engine's own credentials file is encrypted with, for slices
    /// that have made sure that they may.
    pub async fn credential_secret(&self, id: InstanceId) -> Result<Secret, Error> {
        let mut tx = self.parts.db.begin_system().await?;
        let inside = inside::get(&mut tx, &self.parts.keys, id).await?;
        Ok(inside.keys.credential_secret)
    }
}
