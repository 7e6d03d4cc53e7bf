//! Bounds the connections that have not said yet who they are.
use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{lock, settings::Limits};

#[derive(Clone)]
pub(crate) struct Gatekeeper {
    places: Arc<Semaphore>,
    places_max: usize,
    addresses: Arc<Mutex<HashMap<IpAddr, usize>>>,
    per_address: usize,
}

/// The place of one connection, given back on drop.
pub(crate) struct Pending {
    _place: OwnedSemaphorePermit,
    address: IpAddr,
    addresses: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

impl Gatekeeper {
    pub(crate) fn new(limits: &Limits) -> Self {
        let places_max = limits.pending.clamp(1, Semaphore::MAX_PERMITS);
        Self {
            places: Arc::new(Semaphore::new(places_max)),
            places_max,
            addresses: Arc::default(),
            per_address: limits.pending_per_address,
        }
    }

    /// Returns when one more connection may be accepted; `None` cannot happen.
    pub(crate) async fn room(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.places).acquire_owned().await.ok()
    }

    /// `None` when the address has too many already.
    pub(crate) fn admit(
        &self,
        address: IpAddr,
        room: Option<OwnedSemaphorePermit>,
    ) -> Option<Pending> {
        let address = network(address);
        let mut addresses = lock(&self.addresses);
        let count = addresses.entry(address).or_default();
        if *count >= self.per_address {
            return None;
        }
        *count += 1;
        Some(Pending {
            _place: room?,
            address,
            addresses: Arc::clone(&self.addresses),
        })
    }

    pub(crate) fn pending(&self) -> usize {
        self.places_max - self.places.available_permits()
    }
}

/// One customer of IPv6 has a whole /64.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let bits = address.to_bits() & !u128::from(u64::MAX);
            IpAddr::V6(Ipv6Addr::from_bits(bits))
        }
        address => address,
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        let mut addresses = lock(&self.addresses);
        if let Some(count) = addresses.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                addresses.remove(&self.address);
            }
        }
    }
}
