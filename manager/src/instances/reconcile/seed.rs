//! What a new instance is told at its first good start.
use std::net::SocketAddr;

use super::{Reconciler, pass::Look, up::admin};
use crate::{engines::Module, instances::Error};

impl Reconciler {
    /// The template's modules and flows, once. What cannot be put in is named
    /// on the instance; the rest is.
    pub(super) async fn seed(&self, look: &mut Look, address: SocketAddr) -> Result<(), Error> {
        let mut troubles = Vec::new();
        for module in &look.inside.modules {
            if let Err(why) = self.install(look, address, module).await {
                troubles.push(format!("{}: {why}", module.name));
            }
        }
        let mut notices = Vec::new();
        if !troubles.is_empty() {
            let list = troubles.join("; ");
            notices.push(format!(
                "Not all of the template's modules could be installed ({list}). Install them from the editor."
            ));
        }
        let flows = look.inside.flows.as_ref();
        let kind = look.row.engine.kind();
        match kind.seed(&admin(look, address), flows).await {
            Ok(notice) => notices.extend(notice),
            Err(why) => notices.push(format!(
                "The template's flows could not be put in ({why}). Import them in the editor."
            )),
        }
        if !notices.is_empty() {
            look.seen.notice = Some(notices.join(" "));
        }
        look.seen.seeded_at = Some(self.instances.now());
        self.write(look).await
    }

    /// Fails with the reason, for a person.
    pub(super) async fn install(
        &self,
        look: &Look,
        address: SocketAddr,
        module: &Module,
    ) -> Result<(), String> {
        let (name, instance) = (&module.name, &look.row.name);
        tracing::info!(module = name, "installing {name} into {instance}");
        let kind = look.row.engine.kind();
        kind.install(&admin(look, address), module).await
    }
}
