//! Backups as tests make and watch them.
use std::{fs, path::PathBuf};

use serde_json::{Value, json};
use sqlx::PgPool;
use uuid::Uuid;

use crate::support::{
    Answer,
    instances::{Bench, It, eventually},
};

/// No turn comes by itself, nothing is tried out by itself, and no disk is too full.
pub(crate) const QUIET: [&str; 3] = [
    "--backup-schedule=off",
    "--backup-min-free-mb=0",
    "--backup-rehearse-days=0",
];

pub(crate) async fn quiet(pool: PgPool) -> Bench {
    Bench::with_flags(pool, &QUIET).await
}

/// What the tests do with backups.
pub(crate) trait WithBackups {
    /// Asks for one.
    async fn ask_backup(&self, it: &It) -> Uuid;
    async fn backup(&self, id: Uuid) -> Value;
    /// Until it neither waits nor runs.
    async fn ended(&self, id: Uuid) -> Value;
    /// One that is good.
    async fn good(&self, it: &It) -> Uuid;
    async fn backups_of(&self, it: &It) -> Vec<Value>;
    /// Until there are so many of the instance, and all of them are over.
    async fn until_backups(&self, it: &It, n: usize) -> Vec<Value>;
    async fn try_restore(&self, id: Uuid, body: Value) -> Answer;
    /// Until the restore is over.
    async fn restored(&self, restore: &Value) -> Value;
    /// Until the restore went well.
    async fn is_done(&self, restore: &Value);
    /// The files in the instance's folder of backups.
    fn files_of(&self, it: &It) -> Vec<String>;
    fn backup_folder(&self, it: &It) -> PathBuf;
    fn write(&self, it: &It, name: &str, content: impl AsRef<[u8]>);
    fn read(&self, it: &It, name: &str) -> Option<Vec<u8>>;
}

pub(crate) fn id_of(view: &Value) -> Uuid {
    view["id"].as_str().unwrap().parse().unwrap()
}

pub(crate) fn path_of(id: Uuid, below: &str) -> String {
    match below {
        "" => format!("/api/v1/backups/{id}"),
        _ => format!("/api/v1/backups/{id}/{below}"),
    }
}

impl WithBackups for Bench {
    async fn ask_backup(&self, it: &It) -> Uuid {
        id_of(
            &self
                .post(&it.path("backups"), Value::Null)
                .await
                .expect(202),
        )
    }

    async fn backup(&self, id: Uuid) -> Value {
        self.get(&path_of(id, "")).await.expect(200)
    }

    async fn ended(&self, id: Uuid) -> Value {
        eventually("the backup is over", async || {
            let it = self.backup(id).await;
            let open = it["status"] == "pending" || it["status"] == "running";
            (!open).then_some(it)
        })
        .await
    }

    async fn good(&self, it: &It) -> Uuid {
        let id = self.ask_backup(it).await;
        let backup = self.ended(id).await;
        assert_eq!(backup["status"], "good", "{backup:#}");
        id
    }

    async fn backups_of(&self, it: &It) -> Vec<Value> {
        let list = self.get(&it.path("backups")).await.expect(200);
        list["items"].as_array().unwrap().clone()
    }

    async fn until_backups(&self, it: &It, n: usize) -> Vec<Value> {
        eventually("there are so many backups", async || {
            let all = self.backups_of(it).await;
            let open = |it: &Value| it["status"] == "pending" || it["status"] == "running";
            (all.len() == n && !all.iter().any(open)).then_some(all)
        })
        .await
    }

    async fn try_restore(&self, id: Uuid, body: Value) -> Answer {
        self.post(&path_of(id, "restore"), body).await
    }

    async fn restored(&self, restore: &Value) -> Value {
        let path = format!("/api/v1/restores/{}", restore["id"].as_str().unwrap());
        eventually("the restore is over", async || {
            let it = self.get(&path).await.expect(200);
            (!it["finishedAt"].is_null()).then_some(it)
        })
        .await
    }

    async fn is_done(&self, restore: &Value) {
        let restore = self.restored(restore).await;
        assert_eq!(restore["state"], "done", "{restore:#}");
    }

    fn files_of(&self, it: &It) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.backup_folder(it)) else {
            return Vec::new();
        };
        let mut names: Vec<String> = entries
            .map(|it| it.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    fn backup_folder(&self, it: &It) -> PathBuf {
        let data = self.t.data.path();
        data.join("backups").join(it.id.to_string())
    }

    fn write(&self, it: &It, name: &str, content: impl AsRef<[u8]>) {
        let path = self.folder(it).join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn read(&self, it: &It, name: &str) -> Option<Vec<u8>> {
        fs::read(self.folder(it).join(name)).ok()
    }
}

/// Node-RED's credentials file as the instance reads it, by its own secret.
pub(crate) fn credentials(bench: &Bench, it: &It) -> Value {
    use openflow_manager::{engines::node_red::credentials, kernel::Secret};
    let file = bench.read(it, "flows_cred.json").unwrap();
    let secret = Secret::new(bench.env_of(it, "OPENFLOW_CREDENTIAL_SECRET").unwrap());
    credentials::open(&secret, &file).map_or(json!("nonsense"), Value::Object)
}

/// A whole archive of an empty folder, with that about its origin.
pub(crate) fn archive_saying(about: &Value) -> Vec<u8> {
    archive_of(tempfile::tempdir().unwrap(), about, |_| {})
}

/// The same of what `fill` puts into the folder, which is in `place`.
pub(crate) fn archive_of(
    place: tempfile::TempDir,
    about: &Value,
    fill: impl FnOnce(&std::path::Path),
) -> Vec<u8> {
    use openflow_archive::{Folder, Progress, WriteOptions, write};
    let [data, spool, path] = ["data", "spool", "archive"].map(|it| place.path().join(it));
    fs::create_dir(&data).unwrap();
    fs::create_dir(&spool).unwrap();
    fill(&data);
    let options = WriteOptions {
        about: about.clone(),
        ..WriteOptions::new(spool)
    };
    let out = fs::File::create(&path).unwrap();
    let folder = Folder::open(&data).unwrap();
    write(&folder, out, &options, None, &Progress::new()).unwrap();
    fs::read(path).unwrap()
}

/// Bytes that do not get smaller by compression.
pub(crate) fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..bytes).map(|_| next()).collect()
}
