//! Idle connections, one pool per worker thread, so that nobody waits for a
//! lock and a connection stays with the reactor that it was made on.
use std::{cell::RefCell, collections::HashMap, net::SocketAddr, time::Duration};

use tokio::time::Instant;
use uuid::Uuid;

use super::connection::Connection;

/// Node closes idle connections after 5 s; ours go first.
const IDLE_MAX: Duration = Duration::from_secs(4);
const IDLE_CONNECTIONS_MAX: usize = 256;

/// Which connections may serve a request: those to the same instance (nil for
/// the dashboard) at the same address, lest a reused address mixes tenants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct PoolKey {
    pub(crate) instance_id: Uuid,
    pub(crate) address: SocketAddr,
}

/// Boxed, as each is moved in and out with every request.
type Idle = Vec<Box<Connection>>;

thread_local! {
    static POOL: RefCell<HashMap<PoolKey, Idle>> = RefCell::default();
}

/// The most recently used live connection.
pub(super) fn take(key: &PoolKey) -> Option<Box<Connection>> {
    POOL.with_borrow_mut(|pool| {
        let idle = pool.get_mut(key)?;
        while let Some(mut connection) = idle.pop() {
            if connection.idle_since.elapsed() < IDLE_MAX && connection.is_idle() {
                return Some(connection);
            }
        }
        None
    })
}

pub(super) fn put(mut connection: Box<Connection>) {
    connection.reused = true;
    connection.idle_since = Instant::now();
    POOL.with_borrow_mut(|pool| {
        let idle = pool.entry(connection.key).or_default();
        if idle.len() < IDLE_CONNECTIONS_MAX {
            idle.push(connection);
        }
    });
}

/// Closes what has been idle too long; to be called about once a second.
pub(crate) fn sweep() {
    POOL.with_borrow_mut(|pool| {
        pool.retain(|_, idle| {
            idle.retain(|connection| connection.idle_since.elapsed() < IDLE_MAX);
            !idle.is_empty()
        });
    });
}

/// Closes everything; for a thread that ends.
pub(crate) fn clear() {
    POOL.with_borrow_mut(HashMap::clear);
}
