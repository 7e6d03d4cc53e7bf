use std::time::Duration;

use object_store::{
    BackoffConfig, ClientOptions, RetryConfig,
    aws::{AmazonS3, AmazonS3Builder},
};

use super::Error;
use crate::config::{BucketUrl, OffsiteConfig};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// One request: a part over a slow line takes its time.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(300);
const RETRIES_MAX: usize = 8;

/// `patience`: how long a request is tried anew before the store counts as away.
pub(super) fn connect(
    config: &OffsiteConfig,
    url: &BucketUrl,
    patience: Duration,
) -> Result<AmazonS3, Error> {
    let secret = |it: &Option<crate::kernel::Secret>| {
        it.as_ref()
            .map_or(String::new(), |it| it.expose().to_owned())
    };
    // Plain HTTP only where the operator wrote it.
    let is_plain = config
        .endpoint
        .as_ref()
        .is_some_and(|it| it.scheme() == "http");
    let client = ClientOptions::new()
        .with_allow_http(is_plain)
        .with_connect_timeout(CONNECT_TIMEOUT)
        .with_timeout(REQUEST_TIMEOUT);
    let retry = RetryConfig {
        backoff: BackoffConfig {
            init_backoff: Duration::from_millis(200),
            max_backoff: Duration::from_secs(10),
            base: 2.0,
        },
        max_retries: RETRIES_MAX,
        retry_timeout: patience,
    };
    // Not `from_env`: what stands in AWS_… is somebody else's.
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(&url.bucket)
        .with_region(&config.region)
        .with_access_key_id(secret(&config.access_key))
        .with_secret_access_key(secret(&config.secret_key))
        .with_client_options(client)
        .with_retry(retry)
        // Not every store that speaks S3 knows it.
        .with_disable_bulk_delete(true)
        .with_disable_tagging(true);
    if let Some(endpoint) = &config.endpoint {
        builder = builder
            .with_endpoint(endpoint.as_str().trim_end_matches('/'))
            .with_virtual_hosted_style_request(false);
    }
    builder
        .build()
        .map_err(|error| Error::Settings(error.to_string()))
}
