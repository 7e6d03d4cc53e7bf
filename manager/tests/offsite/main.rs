//! Copies in a bucket, on a real S3 server (moto, from scripts/test-s3.sh).
#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]
mod refusals;
mod support;
mod transfers;
