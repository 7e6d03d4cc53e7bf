use std::sync::Arc;

use super::{Settings, serve, slices};
use crate::{
    access::Access,
    crypto::Passwords,
    db::{Changes, Db},
    identity::{Identity, SignInRates},
    instances::{self, Instances},
    kernel::{Clock, SystemClock},
    runtime::DockerRuntime,
};

/// The container engine as the manager of these settings has it.
pub async fn engine_beside(settings: &Settings, db: &Db) -> anyhow::Result<DockerRuntime> {
    serve::connect_docker(settings, db, settings.config.address.listen).await
}

/// The instances, for a command beside the manager (or in its absence): it
/// freezes, dumps and looks, and makes no instance run.
pub async fn instances_beside(settings: &Settings, db: &Db) -> anyhow::Result<Instances> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let address = settings.config.address.listen;
    let runtime = engine_beside(settings, db).await?;
    let rates = SignInRates::DEFAULT;
    Ok(Instances::new(instances::Parts {
        db: db.clone(),
        clock: clock.clone(),
        keys: settings.secrets.keys.clone(),
        identity: Identity::new(db.clone(), clock.clone(), Passwords::new(), rates),
        access: Access::new(db.clone(), clock),
        changes: Changes::new(),
        runtime: Arc::new(runtime),
        databases: slices::databases(settings)?,
        settings: Arc::new(slices::instance_settings(settings, address)?),
    }))
}
