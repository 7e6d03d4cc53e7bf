//! What a hostile tenant reaches over the network. Every refusal has its
//! positive control: the same listener answers somebody else.
use std::{
    fs::File,
    io::{Read as _, Write as _},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    time::Duration,
};

use openflow_manager::runtime::{ContainerSpec, Isolation, Runtime as _};

use crate::support::*;

const ANSWER: &str = "hello";

/// A service of the host on all its addresses, that nobody thought of.
struct Service {
    port: u16,
}

impl Service {
    /// Serves until the test program ends.
    fn start() -> Self {
        let listener = TcpListener::bind("0.0.0.0:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
                let _ = stream.read(&mut [0; 1024]);
                let _ = write!(
                    stream,
                    "HTTP/1.0 200 OK\r\ncontent-length: {}\r\n\r\n{ANSWER}",
                    ANSWER.len()
                );
            }
        });
        Self { port }
    }
}

fn host_reaches(address: impl Into<IpAddr>, port: u16) -> bool {
    let address = SocketAddr::new(address.into(), port);
    TcpStream::connect_timeout(&address, Duration::from_secs(5)).is_ok()
}

/// Whether an HTTP request from inside gets an answer.
fn reaches(from: &ContainerSpec, host: impl std::fmt::Display, port: u16) -> bool {
    let url = format!("http://{host}:{port}/openflow/health");
    let script = format!("timeout 3 wget -q -O /dev/null {url} 2>&1; echo code=$?");
    let output = docker(&["exec", &from.name, "sh", "-c", &script]);
    match output.rsplit_once("code=").map(|(_, code)| code) {
        Some("0") => true,
        // Refused, or not answered at all.
        Some("1" | "143") => false,
        _ => panic!("{output}"),
    }
}

async fn gateway(host: &Host) -> IpAddr {
    host.runtime.ensure_network().await.unwrap().gateways[0]
}

/// The host's addresses but for the loopback's and the bridges that other
/// tests make and remove meanwhile.
fn host_addresses() -> Vec<IpAddr> {
    let listed = run("ip", &["-4", "-o", "addr", "show", "scope", "global"]).unwrap();
    let mut addresses = Vec::new();
    for line in listed.lines() {
        let words: Vec<_> = line.split_whitespace().collect();
        let ours = ["of", "br-"].iter().any(|it| words[1].starts_with(it));
        if !ours {
            addresses.push(words[3].split('/').next().unwrap().parse().unwrap());
        }
    }
    addresses
}

#[tokio::test]
async fn of_the_host_a_tenant_reaches_the_listed_ports_and_nothing_else() {
    let (manager, proxy, secret) = (Service::start(), Service::start(), Service::start());
    let host = Host::alone(|config| {
        config.host_ports = vec![manager.port];
        config.public_ports = vec![proxy.port];
    })
    .await;
    assert_eq!(host.runtime.isolation(), Isolation::Enforced);
    let gateway = gateway(&host).await;
    let tenant = host.spec();
    host.running(&tenant).await;

    assert!(reaches(&tenant, "host.docker.internal", manager.port));
    assert!(reaches(&tenant, gateway, manager.port));
    let others = host_addresses();
    assert!(!others.is_empty());
    for address in others.into_iter().chain([gateway]) {
        assert!(host_reaches(address, secret.port), "control: {address}");
        assert!(!reaches(&tenant, address, secret.port), "{address}");
        assert!(reaches(&tenant, address, proxy.port), "{address}");
        if address != gateway {
            assert!(!reaches(&tenant, address, manager.port), "{address}");
        }
    }
    for path in [
        "/var/run/docker.sock",
        "/run/postgresql",
        "/var/run/postgresql",
    ] {
        assert!(docker_try(&["exec", &tenant.name, "ls", path]).is_err());
    }
}

#[tokio::test]
async fn datagrams_to_the_host_are_dropped_too() {
    for (firewall, arrives) in [(false, true), (true, false)] {
        let service = UdpSocket::bind("0.0.0.0:0").unwrap();
        let patience = Duration::from_secs(if arrives { 30 } else { 3 });
        service.set_read_timeout(Some(patience)).unwrap();
        let port = service.local_addr().unwrap().port();
        let host = Host::alone(|config| config.manage_firewall = firewall).await;
        let gateway = gateway(&host).await;
        let tenant = host.spec();
        host.running(&tenant).await;
        let knock = format!("timeout 2 tftp -g -l /tmp/x -r {ANSWER} {gateway} {port}");
        let _ = docker_try(&["exec", &tenant.name, "sh", "-c", &knock]);
        let received = service.recv(&mut [0; 16]);
        assert_eq!(received.is_ok(), arrives, "{received:?}");
    }
}

/// Shows that the tests above can fail, and what the status says then.
#[tokio::test]
async fn without_the_rules_the_host_is_open_and_the_status_says_so() {
    let service = Service::start();
    let host = Host::alone(|config| config.manage_firewall = false).await;
    let gateway = gateway(&host).await;
    let tenant = host.spec();
    host.running(&tenant).await;
    assert!(reaches(&tenant, gateway, service.port));
    assert!(matches!(host.runtime.isolation(), Isolation::Open(_)));
}

#[tokio::test]
async fn tenants_do_not_reach_one_another_nor_other_containers() {
    let (host, elsewhere) = (Host::alone(|_| {}).await, Host::alone(|_| {}).await);
    let (tenant, neighbour, far) = (host.spec(), host.spec(), elsewhere.spec());
    host.running(&tenant).await;
    let neighbours = host.running(&neighbour).await.address.unwrap();
    let fars = elsewhere.running(&far).await.address.unwrap();
    let plain = docker(&["run", "-d", "--rm", IMAGE]);
    let format = "{{.NetworkSettings.IPAddress}}";
    let plains: IpAddr = docker(&["inspect", "-f", format, &plain]).parse().unwrap();
    eventually("serving", async || host_reaches(plains, 1880).then_some(())).await;

    let reached: Vec<_> = [neighbours, fars, plains]
        .into_iter()
        .filter(|address| {
            assert!(host_reaches(*address, 1880), "control: {address}");
            reaches(&tenant, address, 1880)
        })
        .collect();
    let by_name = reaches(&tenant, &neighbour.name, 1880);
    let itself = reaches(&tenant, "127.0.0.1", 1880);
    docker(&["kill", &plain]);
    assert_eq!(reached, Vec::<IpAddr>::new());
    assert!(!by_name);
    assert!(itself, "control: what serves elsewhere serves here");
}

/// A machine beyond the host, reached by a route: on a public address, a
/// private one and that of the clouds' metadata services.
struct Outside {
    container: String,
    link: String,
    _one_at_a_time: File,
}

impl Outside {
    const PUBLIC: &str = "203.0.113.2";
    const PRIVATE: &str = "10.254.99.2";
    const METADATA: &str = "169.254.169.254";

    fn new() -> Self {
        let lock = File::create(std::env::temp_dir().join("openflow-test-outside.lock")).unwrap();
        lock.lock().unwrap();
        let container = docker(&["run", "-d", "--rm", "--network", "none", IMAGE]);
        let link = format!("oft{}", &unique()[..8]);
        let outside = Self {
            container,
            link,
            _one_at_a_time: lock,
        };
        let pid = docker(&["inspect", "-f", "{{.State.Pid}}", &outside.container]);
        let (near, far) = (outside.link.as_str(), format!("{}o", outside.link));
        ip(&format!(
            "link add {near} type veth peer name {far} netns {pid}"
        ));
        ip(&format!("addr add 203.0.113.1/30 dev {near}"));
        ip(&format!("link set {near} up"));
        let inside = |args: &str| {
            let mut words = vec!["-t", &pid, "-n", "ip"];
            words.extend(args.split(' '));
            run("nsenter", &words).unwrap();
        };
        inside(&format!("addr add {}/30 dev {far}", Self::PUBLIC));
        inside(&format!("link set {far} up"));
        inside("route add default via 203.0.113.1");
        for address in [Self::PRIVATE, Self::METADATA] {
            inside(&format!("addr add {address}/32 dev lo"));
            ip(&format!("route add {address}/32 via {}", Self::PUBLIC));
        }
        outside
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        // The routes go with the link.
        let _ = run("ip", &["link", "del", &self.link]);
        let _ = docker_try(&["kill", &self.container]);
    }
}

fn ip(args: &str) {
    let words: Vec<_> = args.split(' ').collect();
    run("ip", &words).expect("these tests set up networks: run them as root");
}

#[tokio::test]
async fn the_internet_is_reached_and_metadata_and_private_networks_are_not() {
    let outside = Outside::new();
    let host = Host::alone(|_| {}).await;
    let tenant = host.spec();
    host.running(&tenant).await;
    for address in [Outside::PUBLIC, Outside::PRIVATE, Outside::METADATA] {
        let address: IpAddr = address.parse().unwrap();
        eventually("control", async || {
            host_reaches(address, 1880).then_some(())
        })
        .await;
    }
    assert!(reaches(&tenant, Outside::PUBLIC, 1880));
    assert!(!reaches(&tenant, Outside::PRIVATE, 1880));
    assert!(!reaches(&tenant, Outside::METADATA, 1880));

    let mut config = host.config.clone();
    config.allowed_networks = vec!["10.254.99.0/24".parse().unwrap()];
    let reconfigured = openflow_manager::runtime::DockerRuntime::connect(config);
    reconfigured.ensure_network().await.unwrap();
    assert!(reaches(&tenant, Outside::PRIVATE, 1880));
    assert!(!reaches(&tenant, Outside::METADATA, 1880));

    host.runtime.ensure_network().await.unwrap();
    assert!(!reaches(&tenant, Outside::PRIVATE, 1880));
    drop(outside);
}
