//! An installation with something in it, backups of it, and bare machines.
use std::{
    fs,
    io::Read as _,
    os::unix::fs::chown,
    path::{Path, PathBuf},
    sync::Arc,
};

use openflow_manager::{
    access::Access,
    app::Settings,
    config::Config,
    crypto::Passwords,
    databases::Databases,
    db::{Changes, Db},
    identity::{Identity, SignInRates},
    installation::{self, Archive, BackUp, Keys, Made, Place, Silent, Target, target_of},
    instances::{self, Instances, Routing},
    kernel::{Clock as _, SystemClock},
};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use sqlx::{PgPool, postgres::PgPoolOptions};
use tempfile::TempDir;

use crate::support::{
    TestApp, Who,
    instances::{Bench, It},
    settings,
};

/// Two that run, one that was stopped; a token.
pub(crate) struct Home {
    pub(crate) bench: Bench,
    pub(crate) running: [It; 2],
    pub(crate) stopped: It,
    pub(crate) token: Who,
    /// Where backups are put.
    pub(crate) shelf: TempDir,
}

impl Home {
    pub(crate) async fn new(pool: PgPool) -> Self {
        let bench = Bench::new(pool).await;
        let running = [bench.running("one").await, bench.running("two").await];
        let stopped = bench.running("rests").await;
        bench.ask(&stopped, "stop", "stopped").await;
        let alias = json!({"name": "shop"});
        bench
            .post(&running[0].path("aliases"), alias)
            .await
            .expect(201);
        // What COPY has to hide.
        sqlx::query("update sessions set user_agent = $1")
            .bind("a\ttab, a \\ and \\N, a\nline break; ünïcödé \u{1f600}")
            .execute(&bench.t.pool)
            .await
            .unwrap();
        for it in running.iter().chain([&stopped]) {
            let folder = bench.folder(it).join("work");
            fs::create_dir(&folder).unwrap();
            fs::write(folder.join("mark.txt"), it.id.to_string()).unwrap();
            chown(&folder, Some(1000), Some(1000)).unwrap();
        }
        let mqtt = bench.t.data.path().join("mqtt/tenant");
        fs::create_dir_all(&mqtt).unwrap();
        fs::write(mqtt.join("retained.json"), "{}").unwrap();
        let token = bench.t.token(&bench.ada, "read").await;
        Self {
            bench,
            running,
            stopped,
            token,
            shelf: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn job(&self, name: &str) -> BackUp {
        let settings = &self.bench.t.settings;
        BackUp {
            config: settings.config.clone(),
            db: self.bench.t.db.clone(),
            instances: self.instances(),
            keys: Keys::in_use(&settings.config).unwrap(),
            with_keys: true,
            settings: "OPENFLOW_DOMAIN='example.com'\n".to_owned(),
            hot: false,
            output: self.file(name),
            now: SystemClock.now(),
        }
    }

    /// As `openflow backup` makes them beside the manager.
    fn instances(&self) -> Instances {
        let (t, clock) = (&self.bench.t, self.bench.t.clock.clone());
        let rates = SignInRates::DEFAULT;
        Instances::new(instances::Parts {
            db: t.db.clone(),
            clock: clock.clone(),
            keys: t.settings.secrets.keys.clone(),
            identity: Identity::new(t.db.clone(), clock.clone(), Passwords::new(), rates),
            access: Access::new(t.db.clone(), clock),
            changes: Changes::new(),
            databases: Databases::default(),
            runtime: t.runtime.clone(),
            settings: Arc::new(instances::Settings {
                data_dir: t.data.path().to_owned(),
                public_url: "http://localhost:8080".parse().unwrap(),
                domain: "localhost".to_owned(),
                routing: Routing::Proxy,
                manager_url: String::new(),
                mqtt_url: String::new(),
                memory_mb_default: 256,
                cpus_default: 1.0,
                memory_mb_max: 256,
                cpus_max: 1.0,
                per_project_max: 1,
            }),
        })
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.shelf.path().join(name)
    }

    pub(crate) async fn back_up(&self, name: &str) -> Made {
        let made = installation::back_up(self.job(name), Arc::new(Silent)).await;
        made.unwrap()
    }
}

/// A database server with an empty database, and an empty data folder.
pub(crate) struct Bare {
    pub(crate) pool: PgPool,
    pub(crate) db: Db,
    pub(crate) data: TempDir,
    pub(crate) config: Config,
    pub(crate) target: Target,
}

impl Bare {
    pub(crate) async fn new(beside: &PgPool) -> Self {
        let options = beside.connect_options();
        // Of the test's own, and the next run finds and replaces it.
        let key = sha256(options.get_database().unwrap().as_bytes());
        let name = format!("bare_{}", &key[..24]);
        for statement in [
            format!("drop database if exists \"{name}\" with (force)"),
            format!("create database \"{name}\""),
        ] {
            sqlx::raw_sql(sqlx::AssertSqlSafe(statement))
                .execute(beside)
                .await
                .unwrap();
        }
        let options = (*options).clone().database(&name);
        let pool = PgPoolOptions::new().max_connections(10);
        let pool = pool.connect_with(options).await.unwrap();
        let data = tempfile::tempdir().unwrap();
        let config = bare_config(data.path());
        Self {
            db: Db::from_pool(pool.clone()),
            pool,
            data,
            config,
            target: target_of(Some("postgres://somebody@here:5433/bare")),
        }
    }

    /// What `openflow restore` does.
    pub(crate) async fn restore(&self, file: &Path) -> anyhow::Result<()> {
        let archive = Archive::open(file, &Silent)?;
        let keys = Keys::find(&self.config, None, &archive)?;
        keys.check(&archive)?;
        let place = Place::prepare(&self.config.data, &archive, &self.target)?;
        match self.fill(&place, &archive, &keys).await {
            Ok(()) => Ok(()),
            Err(error) => {
                place.undo().unwrap();
                Err(error)
            }
        }
    }

    pub(crate) async fn fill(
        &self,
        place: &Place,
        archive: &Archive,
        keys: &Keys,
    ) -> anyhow::Result<()> {
        place.unpack(archive, keys, &Silent)?;
        if place.wipes_database {
            installation::wipe(&self.db).await?;
        }
        installation::refuse_used(&self.db).await?;
        place.begin_database()?;
        installation::load(&self.db, archive, &SystemClock, &Silent).await?;
        place.publish()
    }

    pub(crate) fn names(&self) -> Vec<String> {
        names_in(self.data.path())
    }

    pub(crate) async fn is_empty(&self) -> bool {
        let count = "select count(*) from pg_tables where schemaname = 'public' and tablename <> '_sqlx_migrations'";
        let tables: i64 = sqlx::query_scalar(count)
            .fetch_one(&self.pool)
            .await
            .unwrap();
        tables == 0
    }

    /// A manager there, on an engine without containers.
    pub(crate) async fn start(self) -> TestApp {
        let rates = SignInRates::DEFAULT;
        let t = TestApp::with_data(self.pool, rates, Arc::default(), &[], self.data).await;
        t.run().await;
        t
    }
}

/// Settings that make no keys: [`settings`] made some, and they are removed.
fn bare_config(data: &Path) -> Config {
    let Settings { config, .. } = settings(&[&format!("--data-dir={}", data.display())]);
    fs::remove_dir_all(data.join("keys")).unwrap();
    config
}

pub(crate) fn names_in(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = entries
        .map(|it| it.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// The file taken apart, to be put together again in other ways.
#[derive(Clone)]
pub(crate) struct Parts(pub(crate) Vec<(String, Vec<u8>)>);

impl Parts {
    pub(crate) fn of(file: &Path) -> Self {
        let mut archive = tar::Archive::new(fs::File::open(file).unwrap());
        let entries = archive.entries().unwrap();
        Self(
            entries
                .map(|it| {
                    let mut entry = it.unwrap();
                    let mut content = Vec::new();
                    entry.read_to_end(&mut content).unwrap();
                    (entry.path().unwrap().to_str().unwrap().to_owned(), content)
                })
                .collect(),
        )
    }

    pub(crate) fn content(&mut self, name: &str) -> &mut Vec<u8> {
        let found = self.0.iter_mut().find(|(it, _)| it == name);
        &mut found.unwrap().1
    }

    pub(crate) fn manifest(&mut self) -> Value {
        serde_json::from_slice(self.content("openflow.json")).unwrap()
    }

    /// Makes list and sums agree with the contents, as a forger would.
    pub(crate) fn agree(&mut self, change: impl FnOnce(&mut Value)) {
        let mut manifest = self.manifest();
        let content = self.0.len() - 2;
        let members = self.0[..content].iter();
        manifest["members"] = members
            .map(|(name, it)| json!({"name": name, "size": it.len(), "sha256": sha256(it)}))
            .collect();
        change(&mut manifest);
        *self.content("openflow.json") = serde_json::to_vec(&manifest).unwrap();
        let last = self.0.len() - 1;
        let lines = self.0[..last].iter();
        let sums: String = lines
            .map(|(name, it)| format!("{}  {name}\n", sha256(it)))
            .collect();
        *self.content("SHA256SUMS") = sums.into_bytes();
    }

    pub(crate) fn write(&self, file: &Path) {
        let mut out = tar::Builder::new(fs::File::create(file).unwrap());
        for (name, content) in &self.0 {
            let mut header = tar::Header::new_gnu();
            // Past the checks of `set_path`: a forger has none.
            header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
            header.set_size(content.len() as u64);
            header.set_mode(0o600);
            header.set_entry_type(tar::EntryType::Regular);
            header.set_cksum();
            out.append(&header, content.as_slice()).unwrap();
        }
        out.into_inner().unwrap();
    }
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().map(|it| format!("{it:02x}")).collect()
}

/// Why the file is refused.
pub(crate) fn refusal(file: &Path) -> String {
    match Archive::open(file, &Silent) {
        Err(error) => format!("{error:#}"),
        Ok(_) => panic!("it was not refused"),
    }
}
