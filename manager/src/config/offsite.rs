use clap::{Args, value_parser};
use url::Url;

use super::parse;
use crate::kernel::Secret;

/// A bucket that keeps a second copy of the backups.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Offsite")]
pub struct OffsiteConfig {
    /// Bucket that keeps a second copy of each backup, as s3://bucket/prefix; none when unset
    #[arg(id = "offsite_url", long = "offsite-url", env = "OPENFLOW_OFFSITE_URL", value_name = "URL", value_parser = bucket_url)]
    pub url: Option<BucketUrl>,
    /// Server of the bucket when it is not Amazon's, such as https://minio.example.com:9000
    #[arg(id = "offsite_endpoint", long = "offsite-endpoint", env = "OPENFLOW_OFFSITE_ENDPOINT", value_name = "URL", value_parser = parse::public_url)]
    pub endpoint: Option<Url>,
    /// Region of the bucket
    #[arg(
        id = "offsite_region",
        long = "offsite-region",
        env = "OPENFLOW_OFFSITE_REGION",
        default_value = "us-east-1",
        value_name = "NAME",
        value_parser = parse::name
    )]
    pub region: String,
    /// Access key that may read, write, list and delete in the bucket
    #[arg(id = "offsite_access_key", long = "offsite-access-key", env = "OPENFLOW_OFFSITE_ACCESS_KEY", value_name = "KEY", value_parser = parse::secret, hide_env_values = true)]
    pub access_key: Option<Secret>,
    /// Secret that belongs to the access key
    #[arg(id = "offsite_secret_key", long = "offsite-secret-key", env = "OPENFLOW_OFFSITE_SECRET_KEY", value_name = "SECRET", value_parser = parse::secret, hide_env_values = true)]
    pub secret_key: Option<Secret>,
    /// Public key of age (age1…) to which copies are encrypted before they leave; keep the secret key elsewhere
    #[arg(
        id = "offsite_age_recipient",
        long = "offsite-age-recipient",
        env = "OPENFLOW_OFFSITE_AGE_RECIPIENT",
        value_name = "KEY",
        value_parser = parse::secret
    )]
    pub age_recipient: Option<Secret>,
    /// After how many days a copy goes, but for each instance's newest; 0 keeps it as long as the backup here
    #[arg(id = "offsite_keep_days", long = "offsite-keep-days", env = "OPENFLOW_OFFSITE_KEEP_DAYS", default_value_t = 0, value_name = "DAYS", value_parser = value_parser!(u32).range(0..=36_500))]
    pub keep_days: u32,
}

/// `s3://bucket/prefix`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketUrl {
    pub bucket: String,
    /// Without slashes at its ends; may be empty.
    pub prefix: String,
}

impl OffsiteConfig {
    pub(super) fn check(&self) -> Result<(), String> {
        if self.url.is_none() {
            let lonely = [
                ("--offsite-endpoint", self.endpoint.is_some()),
                ("--offsite-access-key", self.access_key.is_some()),
                ("--offsite-secret-key", self.secret_key.is_some()),
                ("--offsite-age-recipient", self.age_recipient.is_some()),
            ];
            return match lonely.iter().find(|(_, is_set)| *is_set) {
                Some((flag, _)) => Err(format!(
                    "{flag} needs the bucket: --offsite-url (OPENFLOW_OFFSITE_URL)"
                )),
                None => Ok(()),
            };
        }
        if self.access_key.is_none() || self.secret_key.is_none() {
            return Err(
                "--offsite-url needs OPENFLOW_OFFSITE_ACCESS_KEY and OPENFLOW_OFFSITE_SECRET_KEY"
                    .to_owned(),
            );
        }
        self.recipient().map(|_| ())
    }

    /// To whom copies are encrypted. Checked here and not by clap, whose
    /// message would show a secret key that was given by mistake.
    pub fn recipient(&self) -> Result<Option<age::x25519::Recipient>, String> {
        let Some(text) = &self.age_recipient else {
            return Ok(None);
        };
        let text = text.expose().trim();
        if text.to_ascii_uppercase().starts_with("AGE-SECRET-KEY-") {
            return Err("OPENFLOW_OFFSITE_AGE_RECIPIENT holds a secret key. Give the public one, age1…, and keep the secret key away from this host".to_owned());
        }
        let parsed = text.parse().map(Some);
        parsed.map_err(|_| {
            "OPENFLOW_OFFSITE_AGE_RECIPIENT is no public key of age: age-keygen prints one, age1…"
                .to_owned()
        })
    }
}

fn bucket_url(text: &str) -> Result<BucketUrl, String> {
    let expected = || "give bucket and folder as s3://bucket/prefix".to_owned();
    let rest = text.strip_prefix("s3://").ok_or_else(expected)?;
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    let plain = |it: &str, more: &str| {
        it.chars()
            .all(|c| c.is_ascii_alphanumeric() || more.contains(c))
    };
    if !(3..=63).contains(&bucket.len()) || !plain(bucket, "-._") {
        return Err(format!("{}: this is no name of a bucket", expected()));
    }
    let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
    let is_folder = |it: &str| !it.is_empty() && it != "." && it != ".." && plain(it, "-._");
    if !prefix.is_empty() && (!prefix.split('/').all(is_folder) || 500 < prefix.len()) {
        return Err(format!(
            "{}, the prefix of letters, digits and -._/",
            expected()
        ));
    }
    Ok(BucketUrl {
        bucket: bucket.to_owned(),
        prefix: prefix.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_is_named_with_or_without_a_folder() {
        for (text, bucket, prefix) in [
            ("s3://backups", "backups", ""),
            ("s3://backups/", "backups", ""),
            ("s3://b.example.com/a/b-1/", "b.example.com", "a/b-1"),
        ] {
            let expected = BucketUrl {
                bucket: bucket.into(),
                prefix: prefix.into(),
            };
            assert_eq!(bucket_url(text), Ok(expected), "{text}");
        }
        for text in [
            "backups",
            "https://x/y",
            "s3://",
            "s3://ab",
            "s3:///x",
            "s3://bucket//x",
            "s3://bucket/../x",
            "s3://bucket/a b",
            "s3://user@bucket/x",
            "s3://bucket?x=y",
        ] {
            assert!(bucket_url(text).is_err(), "{text}");
        }
    }
}
