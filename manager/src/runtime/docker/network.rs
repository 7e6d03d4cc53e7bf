use std::{collections::HashMap, time::Duration};

use bollard::{
    errors::Error as EngineError,
    models::{Ipam, IpamConfig, NetworkCreateRequest, NetworkInspect},
};
use ipnet::IpNet;

use super::{DockerConfig, DockerRuntime, error::status, lock};
use crate::{
    crypto,
    runtime::{Error, NetworkInfo, Runtime as _},
};

const OPTION_ICC: &str = "com.docker.network.bridge.enable_icc";
const OPTION_BRIDGE: &str = "com.docker.network.bridge.name";

/// Looks for the network that another manager has made.
const TRIES: usize = 10;
const PAUSE: Duration = Duration::from_millis(100);

/// The instances' network as it is.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Network {
    pub(super) id: String,
    /// The host's interface.
    pub(super) bridge: String,
    pub(super) info: NetworkInfo,
}

impl DockerRuntime {
    /// The network, made if there was none.
    pub(super) async fn make_network(&self) -> Result<Network, Error> {
        let config = &self.config;
        if let Some(found) = self.inspect_network().await? {
            return fit(found, config);
        }
        let request = request(config);
        let created = self
            .change(|docker| async move { docker.create_network(request).await })
            .await;
        let refusal = match created {
            Ok(_) => Error::Network(format!(
                "The Docker network {} vanished as soon as it was made. Who removes it?",
                config.network
            )),
            Err(error) => error.into(),
        };
        // Another manager may have been first: the engine refuses a second
        // network with the same bridge, a moment before it shows the first.
        for _ in 0..TRIES {
            if let Some(found) = self.inspect_network().await? {
                return fit(found, config);
            }
            tokio::time::sleep(PAUSE).await;
        }
        Err(refusal)
    }

    /// The network as last seen, looked at first if it never was.
    pub(super) async fn known_network(&self) -> Result<Network, Error> {
        let known = lock(&self.network).clone();
        if let Some(network) = known {
            return Ok(network);
        }
        self.ensure_network().await?;
        let known = lock(&self.network).clone();
        known.ok_or_else(|| Error::Network("The network of the instances is not known.".into()))
    }

    /// Removes the network, if no container runs in it, and every rule of the
    /// firewall for it: what an uninstallation leaves behind otherwise.
    pub async fn remove_network(&self) -> Result<(), Error> {
        let mut bridge = bridge_name(&self.config.network);
        if let Some(found) = self.inspect_network().await? {
            let network = seen(found);
            bridge = network.bridge;
            let removed = self
                .change(|docker| async move { docker.remove_network(&network.id).await })
                .await;
            match removed {
                Err(error) if status(&error) != Some(404) => return Err(error.into()),
                _ => {}
            }
        }
        *lock(&self.network) = None;
        // Harmless without the bridge.
        let _ = self.open_host(&bridge).await;
        Ok(())
    }

    async fn inspect_network(&self) -> Result<Option<NetworkInspect>, EngineError> {
        let name = self.config.network.clone();
        let inspected = self
            .query(|docker| async move { docker.inspect_network(&name, None).await })
            .await;
        match inspected {
            Err(error) if status(&error) == Some(404) => Ok(None),
            // The engine also takes the beginning of an id for a name.
            Ok(found) if found.name.as_ref() != Some(&self.config.network) => Ok(None),
            result => result.map(Some),
        }
    }
}

fn request(config: &DockerConfig) -> NetworkCreateRequest {
    let ipam = config.subnet.map(|subnet| Ipam {
        config: Some(vec![IpamConfig {
            subnet: Some(subnet.to_string()),
            ..Default::default()
        }]),
        ..Default::default()
    });
    NetworkCreateRequest {
        name: config.network.clone(),
        driver: Some("bridge".into()),
        enable_ipv6: Some(false),
        ipam,
        options: Some(HashMap::from([
            (OPTION_ICC.into(), "false".into()),
            (OPTION_BRIDGE.into(), bridge_name(&config.network)),
        ])),
        ..Default::default()
    }
}

/// The same from every manager, so that two cannot make the network twice; at
/// most 15 characters.
pub(super) fn bridge_name(network: &str) -> String {
    if network == DockerConfig::DEFAULT_NETWORK {
        return "openflow0".into();
    }
    let hash = crypto::sha256_hex(network);
    format!("of-{}", &hash[..10])
}

/// Refuses a network in which tenants would not be apart.
fn fit(found: NetworkInspect, config: &DockerConfig) -> Result<Network, Error> {
    let name = &config.network;
    let remedy = format!(
        "Stop and remove its containers, then `docker network rm {name}`: Openflow makes it anew."
    );
    if found.driver.as_deref() != Some("bridge") {
        return Err(Error::Network(format!(
            "The Docker network {name} is not a bridge on this host. {remedy}"
        )));
    }
    let options = found.options.as_ref();
    if options
        .and_then(|it| it.get(OPTION_ICC))
        .map(String::as_str)
        != Some("false")
    {
        return Err(Error::Network(format!(
            "In the Docker network {name} containers of different tenants reach one another \
             ({OPTION_ICC} is not false). {remedy}"
        )));
    }
    let network = seen(found);
    if let Some(wanted) = config.subnet
        && !network.info.subnets.contains(&wanted)
    {
        let have = network.info.subnets.iter().map(IpNet::to_string);
        let have = have.collect::<Vec<_>>().join(", ");
        return Err(Error::Network(format!(
            "The Docker network {name} has the subnet {have}, not {wanted} as configured. {remedy}"
        )));
    }
    if network.info.gateways.is_empty() {
        return Err(Error::Network(format!(
            "The Docker network {name} has no gateway. {remedy}"
        )));
    }
    Ok(network)
}

fn seen(found: NetworkInspect) -> Network {
    let id = found.id.unwrap_or_default();
    let bridge = found.options.and_then(|mut it| it.remove(OPTION_BRIDGE));
    let bridge = bridge.unwrap_or_else(|| format!("br-{}", id.get(..12).unwrap_or(&id)));
    let pools = found.ipam.and_then(|it| it.config).unwrap_or_default();
    let mut info = NetworkInfo::default();
    for pool in pools {
        let subnet = pool.subnet.and_then(|it| it.parse::<IpNet>().ok());
        let first = subnet.and_then(|it| it.hosts().next());
        let gateway = pool.gateway.and_then(|it| {
            // Some versions write it with the prefix.
            it.split('/').next()?.parse().ok()
        });
        info.subnets.extend(subnet.map(|it| it.trunc()));
        info.gateways.extend(gateway.or(first));
    }
    Network { id, bridge, info }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use uuid::Uuid;

    use super::*;

    fn found(driver: &str, icc: &str) -> NetworkInspect {
        serde_json::from_value(json!({
            "Name": "openflow-network", "Id": "0123456789abcdef", "Driver": driver,
            "IPAM": {"Config": [{"Subnet": "172.30.0.0/16", "Gateway": "172.30.0.1"}]},
            "Options": {OPTION_ICC: icc},
        }))
        .unwrap()
    }

    #[test]
    fn a_fit_network_tells_its_bridge_subnet_and_gateway() {
        let mut config = DockerConfig::new(Uuid::nil());
        let network = fit(found("bridge", "false"), &config).unwrap();
        assert_eq!(network.bridge, "br-0123456789ab");
        assert_eq!(network.info.subnets, ["172.30.0.0/16".parse().unwrap()]);
        let gateway = "172.30.0.1".parse().unwrap();
        assert_eq!(network.info.gateways, [gateway]);
        assert!(network.info.is_instance("172.30.0.2".parse().unwrap()));
        assert!(
            network
                .info
                .is_instance("::ffff:172.30.0.2".parse().unwrap())
        );
        assert!(!network.info.is_instance(gateway));
        assert!(!network.info.is_instance("127.0.0.1".parse().unwrap()));
        config.subnet = Some("172.31.0.0/16".parse().unwrap());
        let error = fit(found("bridge", "false"), &config).unwrap_err();
        assert!(error.to_string().contains("172.30.0.0/16"), "{error}");
    }

    #[test]
    fn a_network_that_does_not_keep_tenants_apart_is_refused_with_what_to_do() {
        let config = DockerConfig::new(Uuid::nil());
        for unfit in [found("overlay", "false"), found("bridge", "true")] {
            let error = fit(unfit, &config).unwrap_err();
            assert!(
                error
                    .to_string()
                    .contains("docker network rm openflow-network"),
                "{error}"
            );
        }
    }

    #[test]
    fn bridge_names_fit_an_interface() {
        assert_eq!(bridge_name("openflow-network"), "openflow0");
        let other = bridge_name("a-network-with-quite-a-long-name");
        assert!(other.len() <= 15 && other != bridge_name("another"));
    }
}
