use std::{net::IpAddr, str::FromStr as _};

use sqlx::postgres::{PgConnectOptions, PgSslMode};
use uuid::Uuid;

use crate::{
    crypto,
    kernel::{InstanceId, Secret},
};

/// The socket of a [`super::Relay`] in its folder: what PostgreSQL's clients
/// look for.
pub const SOCKET: &str = ".s.PGSQL.5432";
/// Changing it locks out every instance until its next start.
const PASSWORD_LABEL: &[u8] = b"openflow-database-v1";
/// How the name of a throwaway database begins.
pub(super) const TRIAL: &str = "openflow_trial_";

/// A database, and the role of the same name that owns it.
#[derive(Clone, Debug)]
pub struct Login {
    pub(super) name: String,
    pub(super) password: Secret,
}

impl Login {
    /// The instance's own; the password follows from what it encrypts its
    /// credentials with.
    pub fn of(id: InstanceId, credential_secret: &Secret) -> Self {
        let hash = crypto::keyed_hash(credential_secret, PASSWORD_LABEL);
        Self {
            name: own_name(id),
            password: Secret::new(
                hash.iter()
                    .map(|it| format!("{it:02x}"))
                    .collect::<String>(),
            ),
        }
    }

    /// A throwaway one; the name tells its age.
    pub(super) fn trial() -> Self {
        Self {
            name: format!("{TRIAL}{}", Uuid::now_v7().simple()),
            password: Secret::new(crypto::random_token()),
        }
    }
}

pub(super) fn own_name(id: InstanceId) -> String {
    format!("openflow_{}", id.0.simple())
}

/// The id in the name of a throwaway database.
pub(super) fn trial_id(name: &str) -> Option<Uuid> {
    name.strip_prefix(TRIAL)?.parse().ok()
}

/// What the operator named.
#[derive(Clone, Debug)]
pub(super) struct Server {
    pub(super) options: PgConnectOptions,
}

impl Server {
    /// Fails with what is wrong about the URL.
    pub(super) fn parse(url: &Secret) -> Result<Self, String> {
        let options = PgConnectOptions::from_str(url.expose())
            .map_err(|error| format!("it is not understood ({error})"))?;
        if options.get_socket().is_some() || options.get_host().starts_with('/') {
            return Err("give a host and a port that instances reach, and not a socket".to_owned());
        }
        match options.get_ssl_mode() {
            PgSslMode::Allow | PgSslMode::Prefer | PgSslMode::Disable | PgSslMode::Require => {}
            PgSslMode::VerifyCa | PgSslMode::VerifyFull => {
                return Err(
                    "sslmode is disable or require here: instances do not have your certificates"
                        .to_owned(),
                );
            }
        }
        Ok(Self { options })
    }

    /// Without the brackets of an address in a URL.
    pub(super) fn host(&self) -> &str {
        self.options.get_host().trim_matches(['[', ']'])
    }

    /// For people and for the log.
    pub(super) fn address(&self) -> String {
        format!("{}:{}", self.options.get_host(), self.options.get_port())
    }

    /// It is on this host, and listens on the loopback at least.
    pub(super) fn is_here(&self) -> bool {
        let address = self.host().parse::<IpAddr>();
        self.host() == "localhost" || address.is_ok_and(|it| it.is_loopback())
    }

    fn tls(&self) -> &'static str {
        match self.options.get_ssl_mode() {
            PgSslMode::Require => "sslmode=require",
            _ => "",
        }
    }

    /// For an instance, in the instances' network.
    pub(super) fn url(&self, login: &Login) -> Secret {
        let host = match self.is_here() {
            true => "host.docker.internal",
            false => self.options.get_host(),
        };
        let mut url = format!(
            "postgres://{name}:{}@{host}:{}/{name}",
            login.password.expose(),
            self.options.get_port(),
            name = login.name,
        );
        if !self.tls().is_empty() {
            url.push('?');
            url.push_str(self.tls());
        }
        Secret::new(url)
    }

    /// By a relay's socket in the folder `folder`, as the container sees it.
    pub(super) fn relayed_url(&self, login: &Login, folder: &str) -> Secret {
        let mut url = format!(
            "postgres://{name}:{}@/{name}?host={folder}&port=5432",
            login.password.expose(),
            name = login.name,
        );
        if !self.tls().is_empty() {
            url.push('&');
            url.push_str(self.tls());
        }
        Secret::new(url)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(url: &str) -> Result<Server, String> {
        Server::parse(&Secret::new(url))
    }

    #[test]
    fn an_instance_finds_the_server_from_where_it_is() {
        let id = InstanceId(Uuid::nil());
        let login = Login::of(id, &Secret::new("credential secret"));
        let name = format!("openflow_{}", "0".repeat(32));
        let password = login.password.expose();
        assert_eq!(password.len(), 64);
        for (given, host, more) in [
            ("postgres://a:b@10.1.2.3/c", "10.1.2.3:5432", ""),
            (
                "postgres://a@db.example:6000/c?sslmode=disable",
                "db.example:6000",
                "",
            ),
            (
                "postgres://a@localhost:6000/c",
                "host.docker.internal:6000",
                "",
            ),
            (
                "postgres://a@127.0.0.1/c?sslmode=require",
                "host.docker.internal:5432",
                "?sslmode=require",
            ),
        ] {
            let url = server(given).unwrap().url(&login);
            let expected = format!("postgres://{name}:{password}@{host}/{name}{more}");
            assert_eq!(url.expose(), expected);
        }
        let url = server("postgres://a@h/c?sslmode=require").unwrap();
        assert_eq!(
            url.relayed_url(&login, "/run/openflow").expose(),
            format!(
                "postgres://{name}:{password}@/{name}?host=/run/openflow&port=5432&sslmode=require"
            )
        );
    }

    #[test]
    fn what_instances_could_not_use_is_refused() {
        for (url, words) in [
            ("postgres://a@localhost/c?host=/run/postgresql", "socket"),
            ("postgres://a@h/c?sslmode=verify-full", "sslmode"),
            ("postgres://a@h:port/c", "not understood"),
        ] {
            let refusal = server(url).unwrap_err();
            assert!(refusal.contains(words), "{refusal}");
        }
    }

    #[test]
    fn the_name_of_a_trial_tells_its_id_and_no_other_name_does() {
        let trial = Login::trial();
        assert!(trial_id(&trial.name).is_some());
        let own = Login::of(InstanceId::new(), &Secret::new("x"));
        assert_eq!(trial_id(&own.name), None);
        assert_ne!(own.password.expose(), trial.password.expose());
    }
}
