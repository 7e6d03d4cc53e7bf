use sqlx::PgConnection;

use super::{Error, Stack, StackStatus, Stacks, store, templates};
use crate::{
    engines::{Engine, Storage},
    kernel::StackId,
};

impl Stacks {
    /// Makes the first stack of each engine and its templates, once: an
    /// administrator who deletes or changes them later is left alone. `images`
    /// are by the engines' names; an engine without one is passed over.
    pub async fn seed(&self, images: &[(&str, &str)]) -> Result<(), Error> {
        let mut tx = self.db.begin_system().await?;
        // Two managers that start at once seed one after the other.
        store::lock(&mut tx).await?;
        if store::seeded(&mut tx).await? {
            return Ok(());
        }
        let now = self.clock.now();
        for (engine, image) in images {
            let Some(engine) = Engine::parse(engine) else {
                continue;
            };
            let stack = Stack {
                id: StackId::new(),
                name: engine.facts().title.to_owned(),
                engine,
                version: String::new(),
                image: (*image).to_owned(),
                storage: Storage::default(),
                status: StackStatus::Pulling,
                status_detail: None,
                is_default: true,
                created_at: now,
                updated_at: now,
            };
            store::insert(&mut tx, &stack).await?;
            self.seed_templates(&mut tx, &stack).await?;
        }
        tx.commit().await?;
        self.check.now();
        Ok(())
    }

    async fn seed_templates(&self, conn: &mut PgConnection, stack: &Stack) -> Result<(), Error> {
        for first in stack.engine.facts().templates {
            let flows = first.flows.and_then(|it| serde_json::from_str(it).ok());
            let now = self.clock.now();
            let template =
                templates::Template::plain(stack.id, first.name, first.description, flows, now);
            templates::insert(conn, &template).await?;
        }
        Ok(())
    }
}
