//! The private cluster, with the machine's real PostgreSQL.
#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use openflow_manager::db::{Cluster, ClusterError, ClusterSettings, Db, MIGRATOR};
use sqlx::{Connection as _, PgConnection};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// A data folder of its own. `tempfile` makes it 0700, so as root every test
/// also shows that the server need not be able to pass it.
struct Home(TempDir);

impl Home {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn settings(&self) -> ClusterSettings {
        ClusterSettings {
            folder: self.0.path().join("data/postgres"),
            bin_dir: None,
            user: None,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.settings().folder.join(name)
    }

    fn server_pid(&self) -> i32 {
        let text = fs::read_to_string(self.path("cluster/postmaster.pid")).unwrap();
        text.lines().next().unwrap().parse().unwrap()
    }

    async fn start(&self) -> Cluster {
        Cluster::start(&self.settings()).await.unwrap()
    }

    async fn refusal(&self) -> ClusterError {
        match Cluster::start(&self.settings()).await {
            Err(error) => error,
            Ok(cluster) => {
                cluster.stop().await;
                panic!("was not refused");
            }
        }
    }

    /// Starts it and leaves it as a killed Openflow does.
    fn abandon(&self, sql: &'static str) {
        let runtime = Runtime::new().unwrap();
        let cluster = runtime.block_on(async {
            let cluster = self.start().await;
            run(&cluster, sql).await;
            cluster
        });
        runtime.shutdown_timeout(Duration::from_secs(1));
        drop(cluster);
    }

    /// Every path with its content, to tell that nothing was touched.
    fn listing(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut found = Vec::new();
        let mut folders = vec![self.settings().folder];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path.clone());
                }
                found.push((path.clone(), fs::read(path).unwrap_or_default()));
            }
        }
        found.sort();
        found
    }
}

/// A failed test must not leave a server behind.
impl Drop for Home {
    fn drop(&mut self) {
        if let Ok(text) = fs::read_to_string(self.path("cluster/postmaster.pid"))
            && let Some(Ok(pid)) = text.lines().next().map(str::parse)
        {
            let _ = kill(Pid::from_raw(pid), Signal::SIGQUIT);
        }
    }
}

async fn connect(cluster: &Cluster) -> PgConnection {
    PgConnection::connect_with(&cluster.options())
        .await
        .unwrap()
}

async fn run(cluster: &Cluster, sql: &'static str) {
    sqlx::raw_sql(sql)
        .execute(&mut connect(cluster).await)
        .await
        .unwrap();
}

async fn text(cluster: &Cluster, sql: &'static str) -> String {
    sqlx::query_scalar(sql)
        .fetch_one(&mut connect(cluster).await)
        .await
        .unwrap()
}

/// Waits for a server that is being started again.
async fn text_in_the_end(cluster: &Cluster, sql: &'static str) -> String {
    for _ in 0..600 {
        if let Ok(mut conn) = PgConnection::connect_with(&cluster.options()).await
            && let Ok(text) = sqlx::query_scalar(sql).fetch_one(&mut conn).await
        {
            return text;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("the server did not come back");
}

const KEEP: &str = "create table kept as select 'yes'::text as answer";
const KEPT: &str = "select answer from kept";

#[tokio::test]
async fn a_fresh_cluster_is_durable_private_and_takes_the_migrations() {
    let home = Home::new();
    let cluster = home.start().await;
    for (setting, value) in [
        ("show fsync", "on"),
        ("show full_page_writes", "on"),
        ("show synchronous_commit", "on"),
        ("show data_checksums", "on"),
        ("show listen_addresses", ""),
        ("show server_encoding", "UTF8"),
        ("show timezone", "UTC"),
        (
            "select datcollate::text from pg_database where datname = 'openflow'",
            "C.UTF-8",
        ),
        (
            "select rolsuper::text from pg_roles where rolname = current_user",
            "false",
        ),
        ("select current_user::text", "openflow"),
    ] {
        assert_eq!(text(&cluster, setting).await, value, "{setting}");
    }
    Db::connect(cluster.options()).migrate().await.unwrap();
    assert!(0 < MIGRATOR.iter().count());
    assert_eq!(tcp_sockets(home.server_pid()), 0);
    cluster.stop().await;
    assert!(!home.path("cluster/postmaster.pid").exists());
}

#[tokio::test]
async fn a_restart_keeps_the_data() {
    let home = Home::new();
    let cluster = home.start().await;
    run(&cluster, KEEP).await;
    cluster.stop().await;
    let cluster = home.start().await;
    assert_eq!(text(&cluster, KEPT).await, "yes");
    cluster.stop().await;
}

#[tokio::test]
async fn a_killed_server_is_started_again() {
    let home = Home::new();
    let cluster = home.start().await;
    run(&cluster, KEEP).await;
    let before = home.server_pid();
    kill(Pid::from_raw(before), Signal::SIGKILL).unwrap();
    assert_eq!(text_in_the_end(&cluster, KEPT).await, "yes");
    assert_ne!(home.server_pid(), before);
    cluster.stop().await;
}

#[test]
fn the_server_outlives_a_killed_openflow_and_is_taken_over() {
    let home = Home::new();
    home.abandon(KEEP);
    let survivor = home.server_pid();
    assert!(Cluster::running(&home.settings().folder).is_some());
    Runtime::new().unwrap().block_on(async {
        let cluster = home.start().await;
        assert_eq!(home.server_pid(), survivor);
        assert_eq!(text(&cluster, KEPT).await, "yes");
        cluster.stop().await;
        assert!(Cluster::running(&home.settings().folder).is_none());
    });
}

#[test]
fn a_server_that_was_killed_with_openflow_recovers_at_the_next_start() {
    let home = Home::new();
    home.abandon(KEEP);
    let killed = home.server_pid();
    kill(Pid::from_raw(killed), Signal::SIGKILL).unwrap();
    Runtime::new().unwrap().block_on(async {
        let cluster = home.start().await;
        assert_ne!(home.server_pid(), killed);
        assert_eq!(text(&cluster, KEPT).await, "yes");
        cluster.stop().await;
    });
}

#[tokio::test]
async fn a_pid_file_that_names_a_stranger_does_not_hinder() {
    let home = Home::new();
    let cluster = home.start().await;
    run(&cluster, KEEP).await;
    let file = home.path("cluster/postmaster.pid");
    let stale = fs::read_to_string(&file).unwrap();
    let owner = fs::metadata(&file).unwrap();
    cluster.stop().await;
    // After a reboot the number may belong to anybody, here to this test.
    let stranger = stale.replacen(
        stale.lines().next().unwrap(),
        &std::process::id().to_string(),
        1,
    );
    fs::write(&file, stranger).unwrap();
    std::os::unix::fs::chown(&file, Some(owner.uid()), Some(owner.gid())).unwrap();
    let cluster = home.start().await;
    assert_eq!(text(&cluster, KEPT).await, "yes");
    cluster.stop().await;
}

#[tokio::test]
async fn a_cluster_of_a_major_that_is_not_installed_is_refused_and_untouched() {
    let home = Home::new();
    fs::create_dir_all(home.path("cluster/base")).unwrap();
    fs::write(home.path("cluster/PG_VERSION"), "9\n").unwrap();
    fs::write(home.path("cluster/base/1"), "precious").unwrap();
    give_to_server(&home.path("cluster"));
    let before = home.listing();
    let refusal = home.refusal().await;
    assert!(matches!(refusal, ClusterError::MajorMissing { .. }));
    assert!(refusal.to_string().contains("postgresql-9"), "{refusal}");
    assert_eq!(home.listing(), before);
}

#[tokio::test]
async fn folders_that_are_not_ours_are_refused_and_untouched() {
    for file in ["PG_VERSION", "holiday.jpg", "cluster/holiday.jpg"] {
        let home = Home::new();
        fs::create_dir_all(home.path("cluster")).unwrap();
        fs::write(home.path(file), "precious").unwrap();
        let before = home.listing();
        let refusal = home.refusal().await;
        assert!(
            matches!(refusal, ClusterError::Foreign { .. }),
            "{file}: {refusal}"
        );
        assert_eq!(home.listing(), before, "{file}");
    }
}

#[test]
fn an_interrupted_init_is_begun_anew() {
    let home = Home::new();
    let runtime = Runtime::new().unwrap();
    let settings = home.settings();
    let start = runtime.spawn(async move { Cluster::start(&settings).await.map(drop) });
    while !home.path("cluster.unfinished/PG_VERSION").exists() {
        assert!(!start.is_finished(), "over before it could be interrupted");
        std::thread::sleep(Duration::from_millis(1));
    }
    start.abort();
    runtime.shutdown_timeout(Duration::from_secs(5));
    assert!(!home.path("cluster").exists());
    Runtime::new().unwrap().block_on(async {
        let cluster = home.start().await;
        assert_eq!(text(&cluster, "show data_checksums").await, "on");
        assert!(!home.path("cluster.unfinished").exists());
        cluster.stop().await;
    });
}

#[tokio::test]
async fn no_other_user_gets_in() {
    let home = Home::new();
    let cluster = home.start().await;
    let folder = cluster.socket_folder().to_owned();
    let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
    let socket = folder.join(".s.PGSQL.5432");
    assert_eq!((mode(&folder), mode(&socket)), (0o700, 0o700));
    if nix::unistd::geteuid().is_root() {
        assert!(psql_as_nobody(&folder).contains("Permission denied"));
        // The second lock, behind the modes.
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
        fs::set_permissions(&socket, fs::Permissions::from_mode(0o777)).unwrap();
        let words = psql_as_nobody(&folder);
        assert!(words.contains("Peer authentication failed"), "{words}");
    }
    cluster.stop().await;
}

#[tokio::test]
async fn a_server_that_cannot_start_says_why() {
    let home = Home::new();
    let cluster = home.start().await;
    cluster.stop().await;
    fs::write(
        home.path("cluster/postgresql.auto.conf"),
        "shared_buffers = nonsense\n",
    )
    .unwrap();
    let refusal = home.refusal().await.to_string();
    assert!(refusal.contains("shared_buffers"), "{refusal}");
}

fn psql_as_nobody(folder: &Path) -> String {
    let output = Command::new("setpriv")
        .args(["--reuid=nobody", "--regid=nogroup", "--clear-groups", "--"])
        .args(["psql", "-X", "-U", "openflow", "-d", "openflow", "-h"])
        .arg(folder)
        .args(["-c", "select 1"])
        .current_dir("/")
        .output()
        .unwrap();
    assert!(!output.status.success());
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// As root, a cluster's folder belongs to the server's user.
fn give_to_server(folder: &Path) {
    if nix::unistd::geteuid().is_root() {
        let user = nix::unistd::User::from_name("postgres").unwrap().unwrap();
        std::os::unix::fs::chown(folder, Some(user.uid.as_raw()), None).unwrap();
    }
}

/// How many of the process's sockets are TCP.
fn tcp_sockets(pid: i32) -> usize {
    let tables = ["tcp", "tcp6"]
        .map(|it| fs::read_to_string(format!("/proc/{pid}/net/{it}")).unwrap_or_default())
        .concat();
    assert!(tables.contains("inode"), "the table was read");
    let handles = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    handles
        .filter_map(|it| fs::read_link(it.unwrap().path()).ok())
        .filter_map(|it| {
            let name = it.to_str()?;
            Some(name.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned())
        })
        .filter(|inode| {
            tables
                .lines()
                .any(|line| line.split_whitespace().nth(9) == Some(inode))
        })
        .count()
}
