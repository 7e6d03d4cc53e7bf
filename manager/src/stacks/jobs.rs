use std::{sync::Arc, time::Duration};

use super::{Error, Stack, StackStatus, Stacks, store};
use crate::{
    engines::Engine,
    jobs::Job,
    kernel::PageRequest,
    runtime::{self, Image, Runtime},
};

/// Compares the stacks with the images on the host, and pulls what a new stack
/// names and the host lacks.
pub struct CheckImages {
    pub stacks: Stacks,
    pub runtime: Arc<dyn Runtime>,
}

#[async_trait::async_trait]
impl Job for CheckImages {
    const NAME: &'static str = "stacks.check_images";
    const PERIOD: Duration = Duration::from_secs(60);
    type Error = Error;

    async fn run(&self) -> Result<(), Error> {
        let mut page = PageRequest {
            limit: PageRequest::LIMIT_MAX,
            after: None,
        };
        loop {
            let mut tx = self.stacks.db.begin_system().await?;
            let stacks = store::list(&mut tx, page).await?;
            drop(tx);
            for stack in &stacks {
                self.check(stack).await?;
            }
            if (stacks.len() as i64) < page.fetch() {
                return Ok(());
            }
            page.after = stacks.last().map(|it| it.id.0);
        }
    }
}

impl CheckImages {
    async fn check(&self, stack: &Stack) -> Result<(), Error> {
        let found = match self.runtime.image(&stack.image).await {
            Ok(None) if stack.status == StackStatus::Pulling => self.pull(&stack.image).await,
            other => other,
        };
        let (status, detail, version) = match found {
            Ok(Some(image)) => judge(stack.engine, &image),
            Ok(None) => (
                StackStatus::Failed,
                Some(missing(stack)),
                stack.version.clone(),
            ),
            // Not the stack's fault; look again with the next period.
            Err(runtime::Error::Unavailable(_)) => return Ok(()),
            // Our own images are in no registry.
            Err(error) if stack.status == StackStatus::Pulling => (
                StackStatus::Failed,
                Some(format!("{} {error}", missing(stack))),
                stack.version.clone(),
            ),
            Err(error) => (
                StackStatus::Failed,
                Some(error.to_string()),
                stack.version.clone(),
            ),
        };
        let mut tx = self.stacks.db.begin_system().await?;
        store::set_status(&mut tx, stack.id, status, detail.as_deref(), &version).await?;
        tx.commit().await?;
        Ok(())
    }

    async fn pull(&self, image: &str) -> Result<Option<Image>, runtime::Error> {
        tracing::info!(image, "pulling image {image}");
        self.runtime.pull(image).await?;
        self.runtime.image(image).await
    }
}

fn missing(stack: &Stack) -> String {
    let engine = stack.engine.as_str();
    format!(
        "The image {} is not on this host. Build it with images/build.sh {engine}, or pull it; it is looked for every minute.",
        stack.image
    )
}

/// An image that says it is for another engine is not started as this one.
fn judge(engine: Engine, image: &Image) -> (StackStatus, Option<String>, String) {
    let label = |name: &str| image.labels.get(name).map(String::as_str);
    let version = label("openflow.version").unwrap_or("unknown").to_owned();
    match label("openflow.engine") {
        Some(says) if says != engine.as_str() => (
            StackStatus::Failed,
            Some(format!(
                "The image is made for {says}, not for {}.",
                engine.as_str()
            )),
            version,
        ),
        _ => (StackStatus::Ready, None, version),
    }
}
