//! Certificates by server name, read again when their files change.
use std::{
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use anyhow::Context as _;
use arc_swap::ArcSwap;
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use tokio::time::sleep;
use tokio_rustls::TlsAcceptor;

use super::ca;
use crate::config::TlsConfig;

const RELOAD_PERIOD: Duration = Duration::from_secs(1);

/// The TLS side of listeners: the proxy's own, and others of the same program.
pub struct Tls {
    folder: PathBuf,
    certificates: Arc<Certificates>,
}

impl Tls {
    /// # Errors
    /// When neither a folder nor a local CA is given, or no certificate is usable.
    pub fn load(config: &TlsConfig) -> anyhow::Result<Self> {
        let folder = match (&config.dir, &config.self_signed) {
            (Some(folder), _) => folder.clone(),
            (None, Some(folder)) => {
                ca::ensure(folder, &config.domain)?;
                folder.join("certs")
            }
            (None, None) => anyhow::bail!(
                "TLS needs certificates: give --tls-dir, or --tls-self-signed for development"
            ),
        };
        let store = Store::read(&folder)?;
        anyhow::ensure!(
            !store.all.is_empty(),
            "{} holds no usable certificate; put <name>.crt and <name>.key (PEM) there",
            folder.display()
        );
        let certificates = Arc::new(Certificates(ArcSwap::from_pointee(store)));
        Ok(Self {
            folder,
            certificates,
        })
    }

    /// Offers `protocols` by ALPN, the preferred one first; none when empty.
    ///
    /// # Errors
    /// When the TLS library refuses its own defaults.
    pub fn acceptor(&self, protocols: &[&[u8]]) -> anyhow::Result<TlsAcceptor> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&self.certificates) as _);
        config.alpn_protocols = protocols.iter().map(|it| it.to_vec()).collect();
        config.ticketer = aws_lc_rs::Ticketer::new()?;
        Ok(Arc::new(config).into())
    }

    /// Takes changed files for ever; bad ones leave the certificates in use.
    pub async fn follow_files(self) {
        let mut seen = stamps(&self.folder);
        loop {
            sleep(RELOAD_PERIOD).await;
            let now = stamps(&self.folder);
            if now == seen {
                continue;
            }
            seen = now;
            match Store::read(&self.folder) {
                Ok(store) if !store.all.is_empty() => {
                    tracing::info!(certificates = store.all.len(), "took changed certificates");
                    self.certificates.0.store(Arc::new(store));
                }
                Ok(_) => tracing::error!("no usable certificate any more; keeping the last ones"),
                Err(error) => tracing::error!(
                    error = format!("{error:#}"),
                    "keeping the last certificates"
                ),
            }
        }
    }
}

#[derive(Debug)]
struct Certificates(ArcSwap<Store>);

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.load().find(hello.server_name())
    }
}

#[derive(Debug, Default)]
struct Store {
    /// By exact name, and by `*.parent`.
    names: HashMap<String, Arc<CertifiedKey>>,
    /// In the files' order; the first is for clients that name no host.
    all: Vec<Arc<CertifiedKey>>,
}

impl Store {
    /// A pair that is not usable (half written, say) is logged and left out.
    fn read(folder: &Path) -> anyhow::Result<Self> {
        let entries =
            std::fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))?;
        let mut paths: Vec<_> = entries
            .filter_map(|entry| Some(entry.ok()?.path()))
            .collect();
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "crt"));
        paths.sort();
        let mut store = Self::default();
        for path in paths {
            match read_pair(&path) {
                Ok((names, key)) => {
                    store.all.push(Arc::clone(&key));
                    for name in names {
                        store.names.entry(name).or_insert_with(|| Arc::clone(&key));
                    }
                }
                Err(error) => {
                    tracing::error!(path = %path.display(), error = format!("{error:#}"), "left out a certificate");
                }
            }
        }
        Ok(store)
    }

    fn find(&self, server_name: Option<&str>) -> Option<Arc<CertifiedKey>> {
        let Some(name) = server_name else {
            return self.all.first().cloned();
        };
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        let wildcard = || {
            let (_, parent) = name.split_once('.')?;
            self.names.get(&format!("*.{parent}"))
        };
        // A wrong name is the client's to complain about; it sees the first.
        let found = self.names.get(&name).or_else(wildcard).or(self.all.first());
        found.cloned()
    }
}

fn read_pair(certificate: &Path) -> anyhow::Result<(Vec<String>, Arc<CertifiedKey>)> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_file_iter(certificate)?.collect();
    let chain = chain.context("reading the certificate")?;
    let key = PrivateKeyDer::from_pem_file(certificate.with_extension("key"))
        .context("reading the key")?;
    let leaf = chain.first().context("the file holds no certificate")?;
    let parsed = webpki::EndEntityCert::try_from(leaf)?;
    let names = parsed
        .valid_dns_names()
        .map(str::to_ascii_lowercase)
        .collect();
    let key = aws_lc_rs::sign::any_supported_type(&key)?;
    let certified = CertifiedKey::new(chain, key);
    certified
        .keys_match()
        .context("the key is not this certificate's")?;
    Ok((names, Arc::new(certified)))
}

/// When each file changed, to notice changes.
fn stamps(folder: &Path) -> BTreeMap<PathBuf, (Option<SystemTime>, u64)> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            // Followed through links, as ACME clients link to the newest file.
            let metadata = std::fs::metadata(entry.path()).ok()?;
            Some((entry.path(), (metadata.modified().ok(), metadata.len())))
        })
        .collect()
}
