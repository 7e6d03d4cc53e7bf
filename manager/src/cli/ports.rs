//! Whether an address can be listened on, and who has it if not.
use std::{
    fs, io,
    net::{SocketAddr, TcpListener},
};

/// Fails with what to do when the address is taken or not ours. `flag` is the
/// setting that changes it.
pub(super) fn check(address: SocketAddr, flag: &str) -> Result<(), String> {
    // Port 0 is any free one.
    let Err(error) = TcpListener::bind(address) else {
        return Ok(());
    };
    let port = address.port();
    Err(match error.kind() {
        io::ErrorKind::AddrInUse => {
            let holder = holder_of(port).map_or_else(String::new, |it| format!(" by {it}"));
            format!(
                "port {port} is in use{holder}. Stop that program, or choose another address with {flag}."
            )
        }
        io::ErrorKind::PermissionDenied => format!(
            "port {port} is for root only. Run Openflow as root, or choose a port above 1023 with {flag}."
        ),
        io::ErrorKind::AddrNotAvailable => format!(
            "{} is no address of this machine. Choose another with {flag}.",
            address.ip()
        ),
        _ => format!("cannot listen on {address}: {error}. Choose another address with {flag}."),
    })
}

/// `nginx (pid 123)`: who listens on the TCP port, where we may see it.
pub(super) fn holder_of(port: u16) -> Option<String> {
    let inodes: Vec<String> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|it| fs::read_to_string(it).ok())
        .flat_map(|it| listeners(&it, port))
        .map(|it| format!("socket:[{it}]"))
        .collect();
    let processes = fs::read_dir("/proc").ok()?.flatten();
    for process in processes {
        let Some(pid) = process
            .file_name()
            .to_str()
            .and_then(|it| it.parse::<u32>().ok())
        else {
            continue;
        };
        let handles = fs::read_dir(process.path().join("fd"))
            .into_iter()
            .flatten()
            .flatten();
        let holds = handles
            .filter_map(|it| fs::read_link(it.path()).ok())
            .any(|it| inodes.iter().any(|inode| it.as_os_str() == inode.as_str()));
        if holds {
            let name = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            return Some(format!("{} (pid {pid})", name.trim_end()));
        }
    }
    None
}

/// Inodes of the sockets in a table of `/proc/net` that listen on the port.
fn listeners(table: &str, port: u16) -> Vec<String> {
    const LISTEN: &str = "0A";
    let suffix = format!(":{port:04X}");
    table
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .filter(|it| 9 < it.len() && it[1].ends_with(&suffix) && it[3] == LISTEN)
        .map(|it| it[9].to_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_names_its_holder_and_the_flag() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let refusal = check(address, "--proxy-listen").unwrap_err();
        let pid = format!("(pid {})", std::process::id());
        assert!(refusal.contains(&pid), "{refusal}");
        assert!(refusal.contains("--proxy-listen"), "{refusal}");
        drop(listener);
        assert_eq!(check(address, "--proxy-listen"), Ok(()));
    }

    #[test]
    fn an_address_of_another_machine_is_refused() {
        let refusal = check("192.0.2.1:8080".parse().unwrap(), "--listen").unwrap_err();
        assert!(refusal.contains("no address of this machine"), "{refusal}");
    }
}
