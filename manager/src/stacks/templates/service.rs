use std::sync::Arc;

use super::{
    super::{Env, EnvVar, Error, find},
    NewTemplate, Template, store,
};
use crate::{
    audit::{self, Event},
    crypto::KeyRing,
    db::Db,
    identity,
    kernel::{Actor, Clock, Page, PageRequest, StackId, TemplateId},
};

#[derive(Clone)]
pub struct Templates {
    pub(super) db: Db,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) keys: Arc<KeyRing>,
}

impl Templates {
    pub fn new(db: Db, clock: Arc<dyn Clock>, keys: Arc<KeyRing>) -> Self {
        Self { db, clock, keys }
    }

    pub async fn list(&self, actor: &Actor, page: PageRequest) -> Result<Page<Template>, Error> {
        let mut tx = self.db.begin_as(actor).await?;
        let templates = store::list(&mut tx, &self.keys, page).await?;
        Ok(Page::cut(templates, page, |it| it.id.0))
    }

    pub async fn get(&self, actor: &Actor, id: TemplateId) -> Result<Template, Error> {
        let mut tx = self.db.begin_as(actor).await?;
        store::get(&mut tx, &self.keys, id).await
    }

    pub async fn create(
        &self,
        actor: &Actor,
        stack: StackId,
        new: NewTemplate,
        env: Vec<EnvVar>,
    ) -> Result<Template, Error> {
        identity::require_admin(actor)?;
        let mut tx = self.db.begin_as(actor).await?;
        let new = new.check(find(&mut tx, stack).await?.engine)?;
        let now = self.clock.now();
        let template = Template {
            id: TemplateId::new(),
            stack,
            name: new.name,
            description: new.description,
            env: Env::parse(env, &Env::default())?,
            modules: new.modules,
            flows: new.flows,
            resources: new.resources,
            created_at: now,
            updated_at: now,
        };
        store::insert_sealed(&mut tx, &self.keys, &template).await?;
        let event = Event::new(
            "template.create",
            None,
            "template",
            template.id,
            &template.name,
        );
        audit::record(&mut tx, actor, now, event).await?;
        tx.commit().await?;
        Ok(template)
    }

    /// Replaces the template: what `change` makes of the stored one.
    pub async fn update(
        &self,
        actor: &Actor,
        id: TemplateId,
        env: Option<Vec<EnvVar>>,
        change: impl FnOnce(&Template) -> (StackId, NewTemplate),
    ) -> Result<Template, Error> {
        identity::require_admin(actor)?;
        let mut tx = self.db.begin_as(actor).await?;
        let stored = store::get(&mut tx, &self.keys, id).await?;
        let (stack, new) = change(&stored);
        let new = new.check(find(&mut tx, stack).await?.engine)?;
        let template = Template {
            stack,
            name: new.name,
            description: new.description,
            env: match env {
                Some(env) => Env::parse(env, &stored.env)?,
                None => stored.env,
            },
            modules: new.modules,
            flows: new.flows,
            resources: new.resources,
            updated_at: self.clock.now(),
            ..stored
        };
        store::update(&mut tx, &self.keys, &template).await?;
        let event = Event::new("template.update", None, "template", id, &template.name);
        audit::record(&mut tx, actor, template.updated_at, event).await?;
        tx.commit().await?;
        Ok(template)
    }

    pub async fn delete(&self, actor: &Actor, id: TemplateId) -> Result<(), Error> {
        identity::require_admin(actor)?;
        let mut tx = self.db.begin_as(actor).await?;
        let template = store::get(&mut tx, &self.keys, id).await?;
        store::delete(&mut tx, id).await?;
        let event = Event::new("template.delete", None, "template", id, &template.name);
        audit::record(&mut tx, actor, self.clock.now(), event).await?;
        tx.commit().await?;
        Ok(())
    }
}
