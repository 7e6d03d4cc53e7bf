use sqlx::PgConnection;

use super::{Engine, Error, Stack, StackStatus, Stacks, store, templates};
use crate::kernel::StackId;

impl Stacks {
    /// Makes the first Node-RED stack and its templates, once: an administrator
    /// who deletes or changes them later is left alone.
    pub async fn seed(&self, node_red_image: &str) -> Result<(), Error> {
        let mut tx = self.db.begin_system().await?;
        // Two managers that start at once seed one after the other.
        store::lock(&mut tx).await?;
        if store::seeded(&mut tx).await? {
            return Ok(());
        }
        let now = self.clock.now();
        let stack = Stack {
            id: StackId::new(),
            name: "Node-RED".to_owned(),
            engine: Engine::NodeRed,
            version: String::new(),
            image: node_red_image.to_owned(),
            status: StackStatus::Pulling,
            status_detail: None,
            is_default: true,
            created_at: now,
            updated_at: now,
        };
        store::insert(&mut tx, &stack).await?;
        self.seed_templates(&mut tx, stack.id).await?;
        tx.commit().await?;
        self.check.now();
        Ok(())
    }

    async fn seed_templates(&self, conn: &mut PgConnection, stack: StackId) -> Result<(), Error> {
        let now = self.clock.now();
        let blank =
            templates::Template::plain(stack, "Blank Node-RED", "An empty editor.", None, now);
        let webhook = templates::Template::plain(
            stack,
            "Webhook",
            "A flow that answers GET /hello.",
            Some(webhook_flows()),
            now,
        );
        templates::insert(conn, &blank).await?;
        templates::insert(conn, &webhook).await?;
        Ok(())
    }
}

fn webhook_flows() -> serde_json::Value {
    serde_json::json!([
        {"id": "0f0000000000tab1", "type": "tab", "label": "Webhook", "disabled": false, "info": ""},
        {"id": "0f0000000000in01", "type": "http in", "z": "0f0000000000tab1", "name": "", "url": "/hello",
         "method": "get", "upload": false, "x": 150, "y": 100, "wires": [["0f0000000000fn01"]]},
        {"id": "0f0000000000fn01", "type": "change", "z": "0f0000000000tab1", "name": "say hello",
         "rules": [{"t": "set", "p": "payload", "pt": "msg", "to": "{\"hello\":\"world\"}", "tot": "json"}],
         "x": 340, "y": 100, "wires": [["0f0000000000out1"]]},
        {"id": "0f0000000000out1", "type": "http response", "z": "0f0000000000tab1", "name": "",
         "statusCode": "200", "headers": {}, "x": 520, "y": 100, "wires": []}
    ])
}
