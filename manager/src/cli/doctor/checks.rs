use std::{
    fs, io,
    net::SocketAddr,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use tokio::process::Command;

use super::{Finding, databases, engine, mqtt, offsite};
use crate::{
    cli::{ports, up},
    config::{Config, DataConfig, Routing},
    db::{Binaries, Cluster, Db},
    engines::{Engine, Facts},
    installation,
};

const GIB: u64 = 1 << 30;
const DISK_FAIL_BYTES: u64 = GIB;
const DISK_WARN_BYTES: u64 = 5 * GIB;
/// What programs may take that answer at once when they work.
const PROGRAM_TIMEOUT: Duration = Duration::from_secs(10);
/// The first day of the year in which this was written: no clock is earlier.
const EARLIEST_UNIX_SECONDS: u64 = 1_767_225_600;

pub(super) async fn all(config: &Config) -> Vec<Finding> {
    let mut findings = vec![docker(config).await];
    findings.extend(images(config).await);
    findings.push(iptables().await);
    findings.push(postgres(config).await);
    findings.extend(databases::server(config).await);
    findings.extend(addresses(config));
    findings.extend(mqtt::all(config).await);
    findings.extend(offsite::bucket(config).await);
    findings.push(data_folder(&config.data.dir));
    findings.push(keys(config));
    findings.push(disk(&config.data.dir));
    findings.push(clock());
    findings
}

async fn docker(config: &Config) -> Finding {
    let host = config.instances.docker_host();
    match engine::get(&host, "/version").await {
        Ok(version) => {
            let version = version.unwrap_or_default();
            let version = version["Version"].as_str().unwrap_or("of unknown version");
            Finding::ok(
                "docker",
                format!("Docker Engine {version} answers at {host}"),
            )
        }
        Err(error) => Finding::fail(
            "docker",
            format!("no Docker Engine at {host}: {error:#}"),
            "Start it (systemctl start docker, or make docker), or name another with OPENFLOW_DOCKER_HOST. \
             'Permission denied' means that your user is not in the group docker.",
        ),
    }
}

/// Of each engine; what is only for those who use that engine is a note.
async fn images(config: &Config) -> Vec<Finding> {
    let host = config.instances.docker_host();
    let mut findings = Vec::new();
    for (name, image) in config.instances.images() {
        let Some(engine) = Engine::parse(name) else {
            continue;
        };
        let found = engine::get(&host, &format!("/images/{image}/json")).await;
        let is_here = matches!(found, Ok(Some(_)));
        findings.push(match found {
            Ok(Some(_)) => Finding::ok("image", format!("{image} is here")),
            Ok(None) => no_image(engine, image),
            Err(_) => Finding::warn(
                "image",
                format!("cannot look for {image}"),
                "See docker above.",
            ),
        });
        if let Some(licence) = engine.facts().licence.filter(|_| is_here) {
            findings.push(Finding::ok("licence", licence));
        }
    }
    findings
}

fn no_image(engine: Engine, image: &str) -> Finding {
    let Facts { name, title, .. } = engine.facts();
    let setting = format!("OPENFLOW_{}_IMAGE", name.replace('-', "_").to_uppercase());
    let advice = format!("Build it with images/build.sh {name}, or name another with {setting}.");
    if engine == Engine::default() {
        return Finding::fail("image", format!("{image} is not on this host"), advice);
    }
    Finding {
        advice: format!("{advice} Without it there are no {title} instances."),
        ..Finding::ok(
            "image",
            format!("{image} is not on this host, which is needed for {title} alone"),
        )
    }
}

/// Without rules, a container reaches what listens on this host.
async fn iptables() -> Finding {
    let advice = "Tenants' containers then reach what listens on this host. Install iptables and run Openflow as root, \
                  or set the rules by hand.";
    match succeeds("iptables", &["-w", "5", "-S", "INPUT"]).await {
        Ok(true) => Finding::ok("iptables", "rules can be set"),
        Ok(false) => Finding::warn("iptables", "no right to set rules", advice),
        Err(error) => Finding::warn(
            "iptables",
            format!("iptables cannot be run: {error}"),
            advice,
        ),
    }
}

async fn postgres(config: &Config) -> Finding {
    if let Some(url) = &config.database.url {
        let advice = "Start it, or correct DATABASE_URL.";
        let Ok(options) = url.expose().parse() else {
            return Finding::fail("postgres", "DATABASE_URL is not valid", advice);
        };
        return match Db::connect(options).ping().await {
            Ok(()) => Finding::ok("postgres", "the database of DATABASE_URL answers"),
            Err(error) => Finding::fail("postgres", format!("DATABASE_URL: {error}"), advice),
        };
    }
    let only = config.database.pg_bin_dir.as_deref();
    let folder = config.data.postgres();
    if Cluster::running(&folder).is_some() {
        return Finding::ok("postgres", "the private cluster runs");
    }
    let made_by = fs::read_to_string(folder.join("cluster/PG_VERSION")).ok();
    let binaries = match &made_by {
        Some(version) => Binaries::of_major(version.trim(), only, &folder).await,
        None => Binaries::newest(only).await,
    };
    match binaries {
        Ok(it) => Finding::ok(
            "postgres",
            format!("PostgreSQL {} in {}", it.major, it.dir.display()),
        ),
        Err(error) => Finding::fail("postgres", error.to_string(), ""),
    }
}

fn addresses(config: &Config) -> Vec<Finding> {
    let mut listeners = up::listeners(config);
    if config.instances.routing == Routing::Nginx {
        listeners.truncate(1);
    }
    let check = |(address, flag)| port("port", address, flag);
    listeners.into_iter().map(check).collect()
}

/// Whether we can listen there, or do already.
pub(super) fn port(check: &'static str, address: SocketAddr, flag: &str) -> Finding {
    let ours = ports::holder_of(address.port()).filter(|it| it.starts_with("openflow "));
    match (ports::check(address, flag), ours) {
        (Ok(()), _) => Finding::ok(check, format!("{address} is free")),
        (Err(_), Some(holder)) => Finding::ok(check, format!("{address} is used by {holder}")),
        (Err(error), None) => Finding::fail(check, error, ""),
    }
}

fn data_folder(folder: &Path) -> Finding {
    let name = folder.display();
    let Ok(metadata) = fs::metadata(folder) else {
        return match nearest(folder).map(|it| is_writable(&it)) {
            Some(true) => Finding::ok("data", format!("{name} will be made at the first start")),
            _ => Finding::fail(
                "data",
                format!("{name} cannot be made"),
                "Choose another folder with --data-dir.",
            ),
        };
    };
    if !metadata.is_dir() || !is_writable(folder) {
        let advice = "Give it to the user that runs Openflow, or choose another with --data-dir.";
        return Finding::fail("data", format!("{name} cannot be written"), advice);
    }
    if let Err(error) = installation::refuse_unfinished(&DataConfig::new(folder)) {
        let advice = "Run the same openflow restore again.";
        return Finding::fail("data", error.to_string(), advice);
    }
    if metadata.permissions().mode() & 0o007 != 0 {
        let advice = format!("chmod o-rwx {name}");
        return Finding::warn(
            "data",
            format!("{name} is open to every user of this host"),
            advice,
        );
    }
    Finding::ok("data", format!("{name} can be written"))
}

fn keys(config: &Config) -> Finding {
    let folder = config.data.key_file("");
    let entries = match fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Finding::ok("keys", "will be made at the first start");
        }
        Err(error) => {
            return Finding::fail(
                "keys",
                format!("{}: {error}", folder.display()),
                "Run as its owner.",
            );
        }
    };
    let open =
        |path: &PathBuf| fs::metadata(path).is_ok_and(|it| it.permissions().mode() & 0o077 != 0);
    match entries.flatten().map(|it| it.path()).find(open) {
        None => Finding::ok("keys", format!("{} is closed to others", folder.display())),
        Some(path) => Finding::fail(
            "keys",
            format!("{} can be read by others", path.display()),
            format!(
                "chmod 600 {}, and make new secrets if it was read.",
                path.display()
            ),
        ),
    }
}

fn disk(folder: &Path) -> Finding {
    let Some(Ok(stat)) = nearest(folder).map(|it| nix::sys::statvfs::statvfs(&it)) else {
        return Finding::warn("disk", "the free space cannot be told", "");
    };
    let free = stat.blocks_available() * stat.fragment_size();
    let detail = format!(
        "{:.1} GiB free for {}",
        free as f64 / GIB as f64,
        folder.display()
    );
    let advice = "Make room, or choose another folder with --data-dir.";
    if free < DISK_FAIL_BYTES {
        Finding::fail("disk", detail, advice)
    } else if free < DISK_WARN_BYTES {
        Finding::warn("disk", detail, advice)
    } else {
        Finding::ok("disk", detail)
    }
}

/// Tokens live by the clock, and TLS and tokens of others break without it.
fn clock() -> Finding {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    match now.map_or(0, |it| it.as_secs()) {
        ..EARLIEST_UNIX_SECONDS => Finding::fail(
            "clock",
            "the clock is years behind",
            "Set it, and keep it with chrony or systemd-timesyncd.",
        ),
        _ => Finding::ok("clock", "plausible"),
    }
}

async fn succeeds(program: &str, args: &[&str]) -> io::Result<bool> {
    let status = Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .status();
    match tokio::time::timeout(PROGRAM_TIMEOUT, status).await {
        Ok(status) => Ok(status?.success()),
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}

/// The folder itself or the nearest one above it that exists.
fn nearest(folder: &Path) -> Option<PathBuf> {
    let absolute = std::path::absolute(folder).ok()?;
    absolute
        .ancestors()
        .find(|it| it.exists())
        .map(Path::to_owned)
}

fn is_writable(folder: &Path) -> bool {
    use nix::unistd::{AccessFlags, access};
    access(folder, AccessFlags::W_OK | AccessFlags::X_OK).is_ok()
}
