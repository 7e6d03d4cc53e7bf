use std::sync::Arc;

use sqlx::PgConnection;

use super::{Error, NewStack, Stack, StackStatus, model, store};
use crate::{
    audit::{self, Event},
    databases::Databases,
    db::Db,
    engines::{Engine, Storage},
    identity,
    jobs::Wake,
    kernel::{Actor, Clock, Page, PageRequest, StackId},
};

#[derive(Clone)]
pub struct Stacks {
    pub(super) db: Db,
    pub(super) clock: Arc<dyn Clock>,
    /// Wakes [`super::CheckImages`].
    pub(super) check: Wake,
    /// For stacks whose instances keep their data in PostgreSQL.
    pub(super) databases: Databases,
}

impl Stacks {
    pub fn new(db: Db, clock: Arc<dyn Clock>, check: Wake, databases: Databases) -> Self {
        Self {
            db,
            clock,
            check,
            databases,
        }
    }

    pub async fn list(&self, actor: &Actor, page: PageRequest) -> Result<Page<Stack>, Error> {
        let mut tx = self.db.begin_as(actor).await?;
        Ok(Page::cut(store::list(&mut tx, page).await?, page, |it| {
            it.id.0
        }))
    }

    pub async fn get(&self, actor: &Actor, id: StackId) -> Result<Stack, Error> {
        let mut tx = self.db.begin_as(actor).await?;
        store::get(&mut tx, id).await?.ok_or(Error::StackNotFound)
    }

    /// Writes it down; the image check finds or pulls the image.
    pub async fn create(&self, actor: &Actor, new: NewStack) -> Result<Stack, Error> {
        identity::require_admin(actor)?;
        if new.storage == Storage::Postgres {
            self.databases.require()?;
        }
        let now = self.clock.now();
        let mut tx = self.db.begin_as(actor).await?;
        let stack = Stack {
            id: StackId::new(),
            name: new.name,
            engine: new.engine,
            version: String::new(),
            image: new.image,
            storage: new.storage,
            status: StackStatus::Pulling,
            status_detail: None,
            is_default: store::default_of(&mut tx, new.engine).await?.is_none(),
            created_at: now,
            updated_at: now,
        };
        store::insert(&mut tx, &stack).await?;
        let event = Event::new("stack.create", None, "stack", stack.id, &stack.name)
            .with(serde_json::json!({ "image": stack.image }));
        audit::record(&mut tx, actor, now, event).await?;
        tx.commit().await?;
        self.check.now();
        Ok(stack)
    }

    pub async fn patch(
        &self,
        actor: &Actor,
        id: StackId,
        name: Option<String>,
        make_default: bool,
    ) -> Result<Stack, Error> {
        identity::require_admin(actor)?;
        let mut tx = self.db.begin_as(actor).await?;
        let stack = store::get(&mut tx, id).await?.ok_or(Error::StackNotFound)?;
        if let Some(name) = name {
            store::rename(&mut tx, id, &model::parse_name(&name)?).await?;
        }
        if make_default {
            store::set_default(&mut tx, &stack).await?;
        }
        let stack = store::get(&mut tx, id).await?.ok_or(Error::StackNotFound)?;
        let event = Event::new("stack.update", None, "stack", id, &stack.name);
        audit::record(&mut tx, actor, self.clock.now(), event).await?;
        tx.commit().await?;
        Ok(stack)
    }

    /// Forgets the stack; the image stays on the host.
    pub async fn delete(&self, actor: &Actor, id: StackId) -> Result<(), Error> {
        identity::require_admin(actor)?;
        let mut tx = self.db.begin_as(actor).await?;
        let stack = store::get(&mut tx, id).await?.ok_or(Error::StackNotFound)?;
        store::delete(&mut tx, id).await?;
        let event = Event::new("stack.delete", None, "stack", id, &stack.name);
        audit::record(&mut tx, actor, self.clock.now(), event).await?;
        tx.commit().await?;
        Ok(())
    }
}

/// Which stack is meant.
#[derive(Clone, Copy, Debug)]
pub enum Pick {
    Named(StackId),
    /// What the operator marked as the default.
    DefaultOf(Engine),
    /// The same where it keeps data there, else the newest that does.
    DefaultFor(Engine, Storage),
}

impl Pick {
    /// Of somebody who names a stack, or leaves it to us.
    pub fn from_choice(id: Option<StackId>) -> Self {
        id.map_or(Self::DefaultOf(Engine::default()), Self::Named)
    }
}

/// In the caller's transaction.
pub async fn find(tx: &mut PgConnection, id: StackId) -> Result<Stack, Error> {
    store::get(tx, id).await?.ok_or(Error::StackNotFound)
}

/// The stack that an instance is to start from. Fails unless it is ready.
pub async fn pick_ready(conn: &mut PgConnection, pick: Pick) -> Result<Stack, Error> {
    let stack = match pick {
        Pick::Named(id) => find(conn, id).await?,
        Pick::DefaultOf(engine) => store::default_of(conn, engine)
            .await?
            .ok_or(Error::NoDefault)?,
        Pick::DefaultFor(engine, storage) => store::default_for(conn, engine, storage)
            .await?
            .ok_or(Error::NoDefault)?,
    };
    match stack.status {
        StackStatus::Ready => Ok(stack),
        StackStatus::Pulling => Err(Error::NotReady {
            name: stack.name,
            why: "its image is still being fetched".to_owned(),
        }),
        StackStatus::Failed => Err(Error::NotReady {
            name: stack.name,
            why: stack
                .status_detail
                .unwrap_or_else(|| "its image is missing".to_owned()),
        }),
    }
}
