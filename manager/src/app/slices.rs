//! The slices, each made of what it stands on and the settings that concern it.
use std::{net::SocketAddr, sync::Arc};

use anyhow::Context as _;
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use chrono::TimeDelta;
use openflow_route_api::Key;
use url::Url;

use super::{Settings, System, broker_info};
use crate::{
    access::{Access, InstallationSecrets, SecretName},
    backups::{self, Backups},
    config,
    crypto::Passwords,
    databases::Databases,
    db::Changes,
    identity::Identity,
    instances::{self, Instances, Routing},
    jobs::Wake,
    mqtt::{
        self, Mqtt,
        traffic::{self, Traffic},
    },
    offsite::Offsite,
    routing,
    snapshots::{self, Snapshots},
    stacks::{Stacks, templates::Templates},
};

pub(super) struct Slices {
    pub(super) changes: Changes,
    pub(super) identity: Identity,
    pub(super) access: Access,
    /// Of the job that checks the stacks' images.
    pub(super) check_images: Wake,
    pub(super) stacks: Stacks,
    pub(super) templates: Templates,
    pub(super) instances: Instances,
    pub(super) feed: routing::Feed,
    pub(super) mqtt: Mqtt,
    pub(super) traffic: Traffic,
    pub(super) snapshots: Snapshots,
    pub(super) backups: Backups,
}

impl Slices {
    /// `address` is where the proxy reaches this manager.
    pub(super) async fn make(
        settings: &Settings,
        system: &System,
        address: SocketAddr,
    ) -> anyhow::Result<Self> {
        let (db, clock) = (system.db.clone(), system.clock.clone());
        let keys = settings.secrets.keys.clone();
        let (changes, passwords) = (Changes::new(), Passwords::new());
        let rates = system.sign_in_rates;
        let identity = Identity::new(db.clone(), clock.clone(), passwords.clone(), rates);
        let access = Access::new(db.clone(), clock.clone());
        let databases = databases(settings)?;
        let instances = Instances::new(instances::Parts {
            db: db.clone(),
            clock: clock.clone(),
            keys: keys.clone(),
            identity: identity.clone(),
            access: access.clone(),
            changes: changes.clone(),
            runtime: system.runtime.clone(),
            databases: databases.clone(),
            settings: Arc::new(instance_settings(settings, address)?),
        });
        let secrets = InstallationSecrets::new(db.clone(), clock.clone(), keys.clone());
        let snapshots = Snapshots::new(snapshots::Parts {
            db: db.clone(),
            clock: clock.clone(),
            keys: keys.clone(),
            identity: identity.clone(),
            access: access.clone(),
            instances: instances.clone(),
            passwords,
            digest_key: secrets.get(SecretName::DigestKey).await?,
        });
        let backups = Backups::new(backups::Parts {
            db: db.clone(),
            clock: clock.clone(),
            keys: keys.clone(),
            identity: identity.clone(),
            instances: instances.clone(),
            snapshots: snapshots.clone(),
            changes: changes.clone(),
            offsite: Offsite::new(&settings.config.offsite)?.map(Arc::new),
            settings: Arc::new(backup_settings(settings)?),
        });
        let check_images = Wake::default();
        Ok(Self {
            stacks: Stacks::new(db.clone(), clock.clone(), check_images.clone(), databases),
            templates: Templates::new(db.clone(), clock, keys),
            feed: feed(settings, system, address, &secrets).await?,
            mqtt: mqtt(settings, system, &identity),
            traffic: traffic(system, &identity, &changes),
            changes,
            identity,
            access,
            check_images,
            instances,
            snapshots,
            backups,
        })
    }
}

fn mqtt(settings: &Settings, system: &System, identity: &Identity) -> Mqtt {
    let broker = system.broker.clone();
    Mqtt::new(mqtt::Parts {
        db: system.db.clone(),
        clock: system.clock.clone(),
        identity: identity.clone(),
        foundation: system.mqtt.clone(),
        info: broker_info::broker_info(&settings.config, broker.kind()),
        broker,
    })
}

fn traffic(system: &System, identity: &Identity, changes: &Changes) -> Traffic {
    Traffic::new(traffic::Parts {
        db: system.db.clone(),
        clock: system.clock.clone(),
        identity: identity.clone(),
        changes: changes.clone(),
        broker: system.broker.clone(),
    })
}

async fn feed(
    settings: &Settings,
    system: &System,
    address: SocketAddr,
    secrets: &InstallationSecrets,
) -> anyhow::Result<routing::Feed> {
    let (db, clock) = (system.db.clone(), system.clock.clone());
    let keys = settings.secrets.keys.clone();
    let cookie_key = secrets.get(SecretName::CookieKey).await?;
    let feed = routing::FeedSettings {
        domain: settings.config.address.domain.clone(),
        dashboard: address,
        dashboard_url: settings.config.public_url(),
        cookie_keys: vec![parse_key(cookie_key.expose())?],
    };
    Ok(routing::Feed::new(db, clock, keys, feed))
}

pub(super) fn databases(settings: &Settings) -> anyhow::Result<Databases> {
    let url = settings.config.instances.instance_database_url.as_ref();
    let databases = Databases::new(url).map_err(anyhow::Error::msg);
    databases.context("OPENFLOW_INSTANCE_DATABASE_URL")
}

pub(super) fn instance_settings(
    settings: &Settings,
    address: SocketAddr,
) -> anyhow::Result<instances::Settings> {
    let config = &settings.config;
    let data_dir = std::path::absolute(config.data.path()).context("the data folder's path")?;
    Ok(instances::Settings {
        data_dir,
        public_url: Url::parse(&config.public_url()).context("the public URL")?,
        domain: config.address.domain.clone(),
        routing: match config.instances.routing {
            config::Routing::Proxy => Routing::Proxy,
            config::Routing::Nginx => Routing::Nginx,
        },
        manager_url: format!("http://host.docker.internal:{}", address.port()),
        mqtt_url: config.mqtt.url().to_string(),
        memory_mb_default: config.instances.default_memory_mb,
        cpus_default: config.instances.default_cpus,
        memory_mb_max: config.limits.max_memory_mb,
        cpus_max: config.limits.max_cpus,
        per_project_max: i64::from(config.limits.max_instances_per_project),
    })
}

fn backup_settings(settings: &Settings) -> anyhow::Result<backups::Settings> {
    let config = &settings.config.backups;
    let keep_days = settings.config.offsite.keep_days;
    let schedule = config.schedule().map(backups::Schedule::parse).transpose();
    Ok(backups::Settings {
        data_dir: std::path::absolute(settings.config.data.path())
            .context("the data folder's path")?,
        schedule: schedule.context("OPENFLOW_BACKUP_SCHEDULE")?,
        window: TimeDelta::minutes(config.window_minutes.into()),
        concurrency: config.concurrency as usize,
        keep: backups::Keep {
            daily: config.keep_daily,
            weekly: config.keep_weekly,
            monthly: config.keep_monthly,
        },
        rehearse_every: (0 < config.rehearse_days)
            .then(|| TimeDelta::days(config.rehearse_days.into())),
        offsite_keep: (0 < keep_days).then(|| TimeDelta::days(keep_days.into())),
        min_free_bytes: config.min_free_mb.saturating_mul(1 << 20),
        upload_bytes_max: config.max_upload_mb << 20,
    })
}

fn parse_key(text: &str) -> anyhow::Result<Key> {
    let bytes = BASE64_URL_SAFE_NO_PAD
        .decode(text)
        .ok()
        .and_then(|it| it.try_into().ok());
    Ok(Key::new(
        bytes.context("the stored cookie key is not 32 bytes")?,
    ))
}
