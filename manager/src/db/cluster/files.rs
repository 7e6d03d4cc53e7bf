//! The server's configuration files. They are ours and written anew at each
//! start; what an operator sets with `alter system` stays.
use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{OpenOptionsExt as _, fchown},
    path::Path,
};

use super::{ClusterError, error::cannot, owner::Owner};

pub(super) const SUPERUSER: &str = "postgres";
pub(super) const ROLE: &str = "openflow";
pub(super) const DATABASE: &str = "openflow";

/// For one manager beside many containers: modest memory, nothing given up in
/// durability.
const SETTINGS: &str = "\
# Written by Openflow at each start. To change a setting: alter system set ...
max_connections = 60
shared_buffers = 64MB
work_mem = 8MB
maintenance_work_mem = 64MB
max_wal_size = 512MB
fsync = on
full_page_writes = on
synchronous_commit = on
password_encryption = scram-sha-256
timezone = 'UTC'
log_timezone = 'UTC'
log_line_prefix = '%m [%p] %q%u@%d '
log_checkpoints = off
";

/// On the server's command line, where no file can override it: nobody gets in
/// but through the private socket.
pub(super) fn arguments(socket_folder: &Path) -> Vec<String> {
    [
        "listen_addresses=".to_owned(),
        format!("unix_socket_directories={}", socket_folder.display()),
        "unix_socket_permissions=0700".to_owned(),
        "port=5432".to_owned(),
        "cluster_name=openflow".to_owned(),
    ]
    .into_iter()
    .flat_map(|it| ["-c".to_owned(), it])
    .collect()
}

/// Writes them into `cluster`. The kernel tells the server which user is at
/// the other end of the socket (`peer`); only our own may be the two roles.
pub(super) fn write(cluster: &Path, owner: &Owner) -> Result<(), ClusterError> {
    let hba = "# Written by Openflow at each start.\nlocal all all peer map=openflow\n";
    let name = owner.own_name.replace('"', "\"\"");
    let ident = format!(
        "# Written by Openflow at each start.\nopenflow \"{name}\" {SUPERUSER}\nopenflow \"{name}\" {ROLE}\n"
    );
    for (file, text) in [
        ("postgresql.conf", SETTINGS),
        ("pg_hba.conf", hba),
        ("pg_ident.conf", &ident),
    ] {
        let path = cluster.join(file);
        replace(&path, text, owner).map_err(cannot("write", &path))?;
    }
    Ok(())
}

/// As root we write into a folder of another user: never through a link that
/// may lie there.
fn replace(path: &Path, text: &str, owner: &Owner) -> io::Result<()> {
    let new = path.with_extension("conf.new");
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&new)?;
    file.write_all(text.as_bytes())?;
    if owner.is_other {
        fchown(&file, Some(owner.uid), Some(owner.gid))?;
    }
    file.sync_all()?;
    fs::rename(new, path)
}
