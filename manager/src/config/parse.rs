//! Checks of single values, as clap wants them: `fn(&str) -> Result<T, String>`.
use std::convert::Infallible;

use url::Url;

use crate::kernel::Secret;

const SECRET_CHARS_MIN: usize = 16;

pub(super) fn secret(text: &str) -> Result<Secret, String> {
    match text.trim() {
        "" => Err("it is empty: leave it unset to have one generated".to_owned()),
        text => Ok(Secret::new(text)),
    }
}

/// A secret that two programs share.
pub(super) fn shared_secret(text: &str) -> Result<Secret, String> {
    if text.trim().chars().count() < SECRET_CHARS_MIN {
        return Err(format!("give at least {SECRET_CHARS_MIN} characters"));
    }
    secret(text)
}

/// A DNS name in lower case.
pub(super) fn domain(text: &str) -> Result<String, String> {
    let name = text.trim_end_matches('.').to_ascii_lowercase();
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-')
    };
    // 63 and a dot are kept for the names of the instances.
    if 253 - 64 < name.len() || !name.split('.').all(is_label) {
        return Err("give a DNS name such as flows.example.com".to_owned());
    }
    Ok(name)
}

pub(super) fn public_url(text: &str) -> Result<Url, String> {
    let url = with_scheme(text, &["http", "https"])?;
    if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
        return Err("give scheme, host and port only, no path".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("give no user name or password".to_owned());
    }
    Ok(url)
}

pub(super) fn mqtt_url(text: &str) -> Result<Url, String> {
    with_scheme(text, &["mqtt", "mqtts", "ws", "wss"])
}

pub(super) fn docker_host(text: &str) -> Result<String, String> {
    let schemes = ["unix://", "tcp://", "http://", "https://"];
    if schemes.iter().any(|it| text.starts_with(it)) {
        return Ok(text.to_owned());
    }
    Err("give an address such as unix:///var/run/docker.sock or tcp://host:2376".to_owned())
}

/// Checked when all settings are ([`is_database_url`]): what is refused here is
/// shown, with the password in it.
pub(super) fn database_url(text: &str) -> Result<Secret, Infallible> {
    Ok(Secret::new(text))
}

pub(super) fn is_database_url(url: Option<&Secret>) -> bool {
    let known = ["postgres://", "postgresql://"];
    url.map(Secret::expose)
        .is_none_or(|text| known.iter().any(|it| text.starts_with(it)) && Url::parse(text).is_ok())
}

pub(super) fn name(text: &str) -> Result<String, String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    let begins_well = text.starts_with(|c: char| c.is_ascii_alphanumeric());
    if !begins_well || 63 < text.len() || !text.chars().all(allowed) {
        return Err("give a name of letters, digits and _.- such as openflow-network".to_owned());
    }
    Ok(text.to_owned())
}

fn with_scheme(text: &str, schemes: &[&str]) -> Result<Url, String> {
    let expected = || {
        let list: Vec<String> = schemes.iter().map(|it| format!("{it}://")).collect();
        format!("give a URL that begins with {}", list.join(" or "))
    };
    let url = Url::parse(text).map_err(|_| expected())?;
    if !schemes.contains(&url.scheme()) || !url.has_host() {
        return Err(expected());
    }
    Ok(url)
}
