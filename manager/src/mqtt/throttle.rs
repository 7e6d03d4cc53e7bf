use std::{
    hash::{BuildHasher as _, Hash, RandomState},
    net::IpAddr,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use crate::kernel::customer_network;

const MINUTE_MS: u64 = 60_000;
const CELLS: usize = 1 << 16;
/// Wrong passwords for one user name from one address, at once and a minute.
const PER_USER_MAX: u32 = 20;
/// Wrong user names and passwords from one address.
const PER_ADDRESS_MAX: u32 = 300;
/// How long a user name that got in from an address is known there.
const PROVEN: Duration = Duration::from_secs(7 * 24 * 3600);

/// Counts events by key; each count leaks away evenly (the generic cell rate
/// algorithm, ITU-T I.371). Unlike `governor`'s limiters it can be looked at
/// without counting, which is what telling failures from successes needs.
///
/// Keys are hashed into a fixed table, so that no number of made-up keys takes
/// more memory. The hash is keyed at random: nobody can aim for another's cell.
pub(super) struct Buckets {
    /// When each will be empty, in milliseconds since the process began.
    cells: Box<[AtomicU64]>,
    hash_key: RandomState,
    /// How long one event takes to leak away.
    leak_ms: u64,
}

impl Buckets {
    /// `max` events at once, and as many in each minute; `cells` is the size
    /// of the table.
    pub(super) fn per_minute(max: u32, cells: usize) -> Self {
        Self {
            cells: (0..cells).map(|_| AtomicU64::new(0)).collect(),
            hash_key: RandomState::new(),
            leak_ms: (MINUTE_MS / u64::from(max)).max(1),
        }
    }

    /// Whether one more would be too many. `now` is any clock that only goes
    /// forward.
    pub(super) fn is_full(&self, key: impl Hash, now: Duration) -> bool {
        let now = millis(now);
        self.is_over(self.cell(key).load(Relaxed), now)
    }

    /// Counts one, unless it is one too many.
    pub(super) fn take(&self, key: impl Hash, now: Duration) -> bool {
        let now = millis(now);
        let count = |empty_at: u64| {
            (!self.is_over(empty_at, now)).then(|| empty_at.max(now) + self.leak_ms)
        };
        self.cell(key).fetch_update(Relaxed, Relaxed, count).is_ok()
    }

    fn is_over(&self, empty_at: u64, now: u64) -> bool {
        MINUTE_MS - self.leak_ms < empty_at.saturating_sub(now)
    }

    fn cell(&self, key: impl Hash) -> &AtomicU64 {
        let hash = self.hash_key.hash_one(key);
        // The lower bits of a u64 are in a usize of any width.
        &self.cells[hash as usize % self.cells.len()]
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Slows down the guessing of passwords: by address and user name; and by
/// address, where those who got in from it lately are left in peace, so that
/// one misconfigured device does not lock out its neighbours behind a NAT.
pub(super) struct Failures {
    by_user: Buckets,
    by_address: Buckets,
    /// When a user name last got in from an address.
    proven: Buckets,
}

impl Failures {
    pub(super) fn new() -> Self {
        Self {
            by_user: Buckets::per_minute(PER_USER_MAX, CELLS),
            by_address: Buckets::per_minute(PER_ADDRESS_MAX, CELLS),
            proven: Buckets::per_minute(1, CELLS),
        }
    }

    /// Whether the password may be looked at.
    pub(super) fn admits(&self, username: &str, address: Option<IpAddr>, now: Duration) -> bool {
        let address = address.map(customer_network);
        if self.by_user.is_full((address, username), now) {
            return false;
        }
        !self.by_address.is_full(address, now) || self.is_proven(username, address, now)
    }

    pub(super) fn failed(&self, username: &str, address: Option<IpAddr>, now: Duration) {
        let address = address.map(customer_network);
        self.by_user.take((address, username), now);
        self.by_address.take(address, now);
    }

    pub(super) fn succeeded(&self, username: &str, address: Option<IpAddr>, now: Duration) {
        let until = millis(now + PROVEN);
        let key = (address.map(customer_network), username);
        self.proven.cell(key).fetch_max(until, Relaxed);
    }

    fn is_proven(&self, username: &str, address: Option<IpAddr>, now: Duration) -> bool {
        millis(now) < self.proven.cell((address, username)).load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_bucket_leaks() {
        let buckets = Buckets::per_minute(20, CELLS);
        let taken = |now| (0..100).filter(|_| buckets.take("a", now)).count();
        assert!(!buckets.is_full("a", SECOND));
        assert_eq!(taken(SECOND), 20);
        assert!(buckets.is_full("a", SECOND));
        assert!(!buckets.is_full("b", SECOND));
        assert_eq!(taken(SECOND * 3), 0);
        assert_eq!(taken(SECOND * 4), 1);
        assert_eq!(taken(SECOND * 10), 2);
        assert_eq!(taken(SECOND * 1000), 20);
    }

    #[test]
    fn a_flood_locks_out_itself_and_not_its_neighbours() {
        let failures = Failures::new();
        let address = |text: &str| Some(text.parse::<IpAddr>().unwrap());
        let (nat, elsewhere) = (address("192.0.2.1"), address("198.51.100.1"));
        let admits = |user: &str, from, now| failures.admits(user, from, now);
        let now = SECOND;
        failures.succeeded("neighbour", nat, now);
        for _ in 0..20 {
            assert!(admits("broken", nat, now));
            failures.failed("broken", nat, now);
        }
        assert!(!admits("broken", nat, now), "20 failures are enough");
        assert!(admits("broken", elsewhere, now));
        assert!(admits("other", nat, now));
        // Somebody tries many names from there.
        for n in 0..280 {
            let name = format!("guess-{n}");
            assert!(admits(&name, nat, now), "{n}");
            failures.failed(&name, nat, now);
        }
        assert!(!admits("other", nat, now), "300 failures are enough");
        assert!(admits("neighbour", nat, now), "it was there before");
        assert!(admits("other", elsewhere, now));
        assert!(admits("other", None, now));
        // And it ends.
        let later = now + SECOND * 60;
        assert!(admits("other", nat, later) && admits("broken", nat, later));
        // An IPv6 customer is one, whichever address it takes.
        for n in 0..20 {
            failures.failed("six", address(&format!("2001:db8::{n:x}")), now);
        }
        assert!(!admits("six", address("2001:db8::ffff"), now));
        assert!(admits("six", address("2001:db8:0:1::1"), now));
    }
}
