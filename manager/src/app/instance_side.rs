use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use arc_swap::ArcSwapOption;
use axum::{
    extract::{ConnectInfo, Request, State},
    middleware::Next,
    response::{IntoResponse as _, Response},
};

use crate::{runtime::NetworkInfo, web};

/// What a caller from the instance network finds; the rest is not there. The
/// shim's paths each ask for the instance's own token.
const BROKER_PATH: &str = "/mqtt/auth";
const SHIM_PATHS: &str = "/shim/v1/";

/// Whether a caller from the instance network may go there. Only plain paths:
/// nothing that a server behind us could read as another one.
fn is_for_instances(path: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_/".contains(c);
    path == BROKER_PATH || (path.starts_with(SHIM_PATHS) && path.chars().all(plain))
}

/// Tells callers that are containers of tenants from the rest.
#[derive(Clone, Default)]
pub struct InstanceSide {
    /// `None` until the network was seen.
    network: Arc<ArcSwapOption<NetworkInfo>>,
}

impl InstanceSide {
    pub fn set_network(&self, network: NetworkInfo) {
        self.network.store(Some(Arc::new(network)));
    }

    /// The middleware: answers 404 to instances for all that is not theirs.
    pub(super) async fn guard(State(side): State<Self>, request: Request, next: Next) -> Response {
        let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
        let restricted = peer.is_some_and(|peer| side.is_instance(peer.0.ip()));
        if restricted && !is_for_instances(request.uri().path()) {
            return web::not_found().await.into_response();
        }
        next.run(request).await
    }

    /// Until the network is known, whoever is not on this host might be one.
    fn is_instance(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        match self.network.load().as_deref() {
            Some(network) => network.is_instance(peer),
            None => !peer.is_loopback(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instances_find_the_broker_hook_and_the_shims_paths() {
        let id = "0198a3f2-0000-7000-8000-000000000000";
        let restore = format!("/shim/v1/snapshots/{id}/restore");
        for path in ["/mqtt/auth", "/shim/v1/redeem", &restore] {
            assert!(is_for_instances(path), "{path}");
        }
        for path in [
            "/",
            "/api/v1/instances",
            "/shim/v1",
            "/shim/v1/../api",
            "/shim/v1/%2e%2e/api",
            "/mqtt/auth/",
            "//shim/v1/redeem",
            "/internal/v1/routes",
        ] {
            assert!(!is_for_instances(path), "{path}");
        }
    }

    #[test]
    fn containers_are_told_from_the_rest() {
        let side = InstanceSide::default();
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        assert!(side.is_instance(address("172.30.0.5")));
        assert!(!side.is_instance(address("127.0.0.1")));
        side.set_network(NetworkInfo {
            subnets: vec!["172.30.0.0/16".parse().unwrap()],
            gateways: vec![address("172.30.0.1")],
        });
        assert!(side.is_instance(address("172.30.0.5")));
        assert!(side.is_instance(address("::ffff:172.30.0.5")));
        assert!(!side.is_instance(address("172.30.0.1")));
        assert!(!side.is_instance(address("10.0.0.1")));
    }
}
