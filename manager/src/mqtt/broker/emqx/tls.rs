//! TLS towards EMQX, by the host's own certificate authorities.
use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs};

use crate::mqtt::BrokerError;

/// Where the host keeps them; `SSL_CERT_FILE` names others.
pub(super) fn trusting_the_hosts_authorities() -> Result<ClientConfig, BrokerError> {
    let mut roots = RootCertStore::empty();
    let (added, _) =
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if added == 0 {
        return Err(BrokerError::Unsupported(
            "this host has no certificate authorities, so EMQX cannot be asked over TLS. Install ca-certificates."
                .to_owned(),
        ));
    }
    config(roots)
}

/// For a client that will not use TLS.
pub(super) fn trusting_nobody() -> Result<ClientConfig, BrokerError> {
    config(RootCertStore::empty())
}

fn config(roots: RootCertStore) -> Result<ClientConfig, BrokerError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| BrokerError::Unsupported(error.to_string()))?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}
