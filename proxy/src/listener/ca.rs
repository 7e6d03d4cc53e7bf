//! A local certificate authority for development.
use std::path::Path;

use anyhow::Context as _;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose,
};

use crate::routes::write_private;

/// Makes `ca.crt` and `ca.key` in `folder`, and below `certs/` a certificate of
/// `domain` and `*.domain`, unless they are there from an earlier start.
pub(super) fn ensure(folder: &Path, domain: &str) -> anyhow::Result<()> {
    let certs = folder.join("certs");
    std::fs::create_dir_all(&certs).with_context(|| format!("creating {}", certs.display()))?;
    let (ca_certificate, ca_key) = (folder.join("ca.crt"), folder.join("ca.key"));
    if !ca_certificate.exists() || !ca_key.exists() {
        let key = KeyPair::generate()?;
        let certificate = ca_params().self_signed(&key)?;
        write_private(&ca_key, key.serialize_pem().as_bytes())?;
        write_private(&ca_certificate, certificate.pem().as_bytes())?;
        tracing::info!(path = %ca_certificate.display(), "made a local CA; let your browser trust it");
    }
    let (leaf, leaf_key) = (
        certs.join(format!("{domain}.crt")),
        certs.join(format!("{domain}.key")),
    );
    if leaf.exists() && leaf_key.exists() {
        return Ok(());
    }
    let ca_key = KeyPair::from_pem(&std::fs::read_to_string(&ca_key)?).context("reading ca.key")?;
    let issuer = Issuer::new(ca_params(), ca_key);
    let key = KeyPair::generate()?;
    let certificate = leaf_params(domain)?.signed_by(&key, &issuer)?;
    let chain = certificate.pem() + &std::fs::read_to_string(&ca_certificate)?;
    write_private(&leaf_key, key.serialize_pem().as_bytes())?;
    write_private(&leaf, chain.as_bytes())?;
    Ok(())
}

fn ca_params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = named("Openflow local CA");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = rcgen::date_time_ymd(2024, 1, 1);
    params.not_after = rcgen::date_time_ymd(2044, 1, 1);
    params
}

fn leaf_params(domain: &str) -> anyhow::Result<CertificateParams> {
    let names = vec![domain.to_owned(), format!("*.{domain}")];
    let mut params =
        CertificateParams::new(names).with_context(|| format!("{domain} is no domain name"))?;
    params.distinguished_name = named(domain);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.not_before = rcgen::date_time_ymd(2024, 1, 1);
    params.not_after = rcgen::date_time_ymd(2044, 1, 1);
    Ok(params)
}

fn named(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}
