use std::{
    hash::{BuildHasher as _, Hash, RandomState},
    net::IpAddr,
};

use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter, clock::Clock as _};

use crate::{
    identity::{Error, SignInRates},
    kernel::customer_network,
};

/// Slows down the guessing of passwords, by account and by address.
///
/// Keys are hashed into 65,536 buckets, so that no number of made-up accounts
/// takes more memory. The hash is keyed at random: nobody can aim for another's
/// bucket, and a chance collision costs a wait at the most.
pub(in crate::identity) struct SignInLimiter {
    by_account: DefaultKeyedRateLimiter<u16>,
    by_address: DefaultKeyedRateLimiter<u16>,
    hash_key: RandomState,
}

impl SignInLimiter {
    pub(in crate::identity) fn new(rates: SignInRates) -> Self {
        Self {
            by_account: RateLimiter::keyed(Quota::per_minute(rates.per_account)),
            by_address: RateLimiter::keyed(Quota::per_minute(rates.per_address)),
            hash_key: RandomState::new(),
        }
    }

    /// Counts a try; fails with [`Error::TooManyTries`] when there were too
    /// many of the address or for the account.
    pub(in crate::identity) fn check(
        &self,
        email: &str,
        address: Option<IpAddr>,
    ) -> Result<(), Error> {
        take(&self.by_address, self.bucket(address.map(customer_network)))?;
        take(&self.by_account, self.bucket(email.to_lowercase()))
    }

    fn bucket(&self, key: impl Hash) -> u16 {
        let [low, high, ..] = self.hash_key.hash_one(key).to_le_bytes();
        u16::from_le_bytes([low, high])
    }
}

fn take(limiter: &DefaultKeyedRateLimiter<u16>, bucket: u16) -> Result<(), Error> {
    limiter.check_key(&bucket).map_err(|refusal| {
        let wait = refusal.wait_time_from(limiter.clock().now());
        Error::TooManyTries(wait.as_secs() + 1)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tries_are_counted_by_account_and_by_network() {
        let limiter = SignInLimiter::new(SignInRates {
            per_account: 2.try_into().unwrap(),
            per_address: 3.try_into().unwrap(),
        });
        let check = |email, address: &str| limiter.check(email, address.parse().ok()).is_ok();
        assert!(check("ada@example.com", "192.0.2.1"));
        assert!(check("ADA@example.com", "192.0.2.2"));
        assert!(!check("ada@example.com", "192.0.2.3"), "the account's");
        assert!(check("a@example.com", "2001:db8::1"));
        assert!(check("b@example.com", "2001:db8::2"));
        assert!(check("c@example.com", "2001:db8::3"));
        assert!(!check("d@example.com", "2001:db8::4"), "the network's");
        assert!(check("d@example.com", "2001:db8:0:1::4"));
    }
}
