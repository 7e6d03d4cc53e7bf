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

/// What a caller from the instance network finds; the rest is not there.
const PATHS: [&str; 2] = ["/mqtt/auth", "/shim/v1/redeem"];

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

    /// The middleware: answers 404 to instances for all but [`PATHS`].
    pub(super) async fn guard(State(side): State<Self>, request: Request, next: Next) -> Response {
        let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
        let restricted = peer.is_some_and(|peer| side.is_instance(peer.0.ip()));
        if restricted && !PATHS.contains(&request.uri().path()) {
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
