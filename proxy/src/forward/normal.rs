//! The one normal form of a request's host and path, for routing, access and
//! the upstream alike. What has no normal form is refused before anything else
//! looks at it.
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, Version, header, request, uri};

const HOST_BYTES_MAX: usize = 253;
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// Why a request's head is refused; the text is for the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadRequest {
    #[error("the Host header is missing")]
    MissingHost,
    #[error("there is more than one Host header")]
    RepeatedHost,
    #[error("the Host header is not a host name")]
    InvalidHost,
    #[error("the request names one host in its line and another in its Host header")]
    HostMismatch,
    #[error("this is not a proxy for other servers")]
    ForeignTarget,
    #[error("the path must not contain dot segments, backslashes or control characters")]
    InvalidPath,
    #[error("the request's framing is ambiguous")]
    Framing,
    #[error("the request's head is larger than 64 KiB")]
    TooLarge,
}

/// A validated host: lower-case, no trailing dot, at most 253 bytes.
#[derive(Clone, Copy)]
pub(crate) struct Host {
    name: [u8; HOST_BYTES_MAX],
    length: u8,
    pub(crate) port: Option<u16>,
    /// The header's text differs from the normal form.
    pub(crate) rewritten: bool,
}

impl Host {
    /// Parses `name`, `name:port` or `[v6]:port`.
    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        let name_end = match text.first()? {
            b'[' => text.iter().position(|&byte| byte == b']')? + 1,
            _ => text
                .iter()
                .position(|&byte| byte == b':')
                .unwrap_or(text.len()),
        };
        let (name, rest) = text.split_at(name_end);
        let port = match rest {
            [] => None,
            [b':', digits @ ..] => Some(parse_port(digits)?),
            _ => return None,
        };
        let bare = name.strip_suffix(b".").unwrap_or(name);
        if bare.is_empty() || HOST_BYTES_MAX < bare.len() || !is_name(bare) {
            return None;
        }
        let mut host = Self {
            name: [0; HOST_BYTES_MAX],
            length: bare.len() as u8,
            port,
            rewritten: bare.len() != name.len(),
        };
        for (to, from) in host.name.iter_mut().zip(bare) {
            *to = from.to_ascii_lowercase();
            host.rewritten |= *to != *from;
        }
        Some(host)
    }

    pub(crate) fn as_str(&self) -> &str {
        let name = self.name.get(..usize::from(self.length));
        name.and_then(|name| std::str::from_utf8(name).ok())
            .unwrap_or_default()
    }

    /// The first label: `wf1` of `wf1.example.com`.
    pub(crate) fn first_label(&self) -> &str {
        let name = self.as_str();
        name.split_once('.').map_or(name, |(label, _)| label)
    }

    /// Same host and port, where no port is `default`.
    pub(crate) fn same_origin(&self, other: &Self, default: u16) -> bool {
        self.as_str() == other.as_str()
            && self.port.unwrap_or(default) == other.port.unwrap_or(default)
    }
}

impl std::fmt::Display for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())?;
        match self.port {
            Some(port) => write!(f, ":{port}"),
            None => Ok(()),
        }
    }
}

fn parse_port(digits: &[u8]) -> Option<u16> {
    if digits.is_empty() || 5 < digits.len() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

fn is_name(name: &[u8]) -> bool {
    if let [b'[', address @ .., b']'] = name {
        let address = std::str::from_utf8(address).unwrap_or_default();
        return address.parse::<std::net::Ipv6Addr>().is_ok();
    }
    let mut previous = b'.';
    for &byte in name {
        let known = byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if !known || (byte == b'.' && previous == b'.') {
            return false;
        }
        previous = byte;
    }
    previous != b'.'
}

/// Reads the request's host and checks its target; see [`BadRequest`].
pub(crate) fn check(parts: &request::Parts) -> Result<Host, BadRequest> {
    if parts.method == Method::CONNECT {
        return Err(BadRequest::ForeignTarget);
    }
    if HEAD_BYTES_MAX < head_bytes(parts) {
        return Err(BadRequest::TooLarge);
    }
    let host = request_host(parts)?;
    if parts.headers.contains_key(header::TRANSFER_ENCODING) {
        check_transfer_encoding(parts)?;
    }
    if !parts.uri.path().starts_with('/') {
        return Err(BadRequest::InvalidPath); // `OPTIONS *`
    }
    check_path(parts.uri.path())?;
    Ok(host)
}

/// hyper stops at such a size too, but only between reads.
fn head_bytes(parts: &request::Parts) -> usize {
    let target = parts
        .uri
        .path_and_query()
        .map_or(0, |target| target.as_str().len());
    let header = |(name, value): (&HeaderName, &HeaderValue)| name.as_str().len() + value.len() + 4;
    target + parts.headers.iter().map(header).sum::<usize>()
}

fn request_host(parts: &request::Parts) -> Result<Host, BadRequest> {
    let in_header = header_host(&parts.headers)?;
    let in_target = target_host(&parts.uri)?;
    match (in_header, in_target) {
        (Some(header), None) if parts.version < Version::HTTP_2 => Ok(header),
        (Some(header), Some(target)) => {
            let same = header.as_str() == target.as_str() && header.port == target.port;
            same.then_some(header).ok_or(BadRequest::HostMismatch)
        }
        // HTTP/2 carries the host in `:authority`.
        (None, Some(target)) if Version::HTTP_2 <= parts.version => Ok(target),
        _ => Err(BadRequest::MissingHost),
    }
}

fn header_host(headers: &HeaderMap) -> Result<Option<Host>, BadRequest> {
    let mut values = headers.get_all(header::HOST).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(BadRequest::RepeatedHost);
    }
    let host = Host::parse(value.as_bytes()).ok_or(BadRequest::InvalidHost)?;
    Ok(Some(host))
}

fn target_host(uri: &Uri) -> Result<Option<Host>, BadRequest> {
    let Some(authority) = uri.authority() else {
        return Ok(None);
    };
    let scheme = uri.scheme();
    if scheme != Some(&uri::Scheme::HTTP) && scheme != Some(&uri::Scheme::HTTPS) {
        return Err(BadRequest::ForeignTarget);
    }
    let host = Host::parse(authority.as_str().as_bytes()).ok_or(BadRequest::InvalidHost)?;
    Ok(Some(host))
}

/// Only `chunked`, once. Together with Content-Length hyper has already dropped
/// the length, and closes the connection after the answer.
fn check_transfer_encoding(parts: &request::Parts) -> Result<(), BadRequest> {
    let mut values = parts.headers.get_all(header::TRANSFER_ENCODING).iter();
    let first = values.next().map(|value| value.as_bytes().trim_ascii());
    let chunked = first.is_some_and(|value| value.eq_ignore_ascii_case(b"chunked"));
    if !chunked || values.next().is_some() {
        return Err(BadRequest::Framing);
    }
    Ok(())
}

/// Refuses what some upstream may read as another path: dot segments, plain,
/// encoded or with parameters (`..;`), backslashes and control characters.
/// Other percent-encoding goes through as it is.
fn check_path(path: &str) -> Result<(), BadRequest> {
    let suspicious = |pair: &[u8]| matches!(pair, b"/." | b"%2" | b"%5" | b"%0" | b"%1" | b"%7");
    let bytes = path.as_bytes();
    if !bytes.windows(2).any(suspicious) && !bytes.contains(&b'\\') {
        return Ok(());
    }
    let decoded = percent_decode(bytes);
    if bytes.contains(&b'\\') || decoded.iter().any(u8::is_ascii_control) {
        return Err(BadRequest::InvalidPath);
    }
    let is_dots = |segment: &[u8]| {
        let name = segment.split(|&byte| byte == b';').next();
        matches!(name, Some(b"." | b".."))
    };
    if decoded
        .split(|byte| matches!(byte, b'/' | b'\\'))
        .any(is_dots)
    {
        return Err(BadRequest::InvalidPath);
    }
    Ok(())
}

/// Decodes `%XX`; what is not such an escape stays.
pub(crate) fn percent_decode(text: &[u8]) -> Vec<u8> {
    let digit = |byte: Option<&u8>| byte.and_then(|&byte| char::from(byte).to_digit(16));
    let mut decoded = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        let escape = match byte {
            b'%' => digit(text.get(at + 1)).zip(digit(text.get(at + 2))),
            _ => None,
        };
        match escape {
            Some((high, low)) => {
                decoded.push((high * 16 + low) as u8);
                at += 3;
            }
            None => {
                decoded.push(byte);
                at += 1;
            }
        }
    }
    decoded
}

/// Encodes all but unreserved characters, for a value in a query.
pub(crate) fn percent_encode(text: &str) -> String {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let mut encoded = String::with_capacity(text.len() + 16);
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            encoded.push(char::from(byte));
        } else {
            encoded.push('%');
            encoded.push(char::from(HEX[usize::from(byte >> 4)]));
            encoded.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_have_one_normal_form() {
        for (text, name, port) in [
            ("wf1.example.com", "wf1.example.com", None),
            ("WF1.Example.com.:8080", "wf1.example.com", Some(8080)),
            ("localhost:1", "localhost", Some(1)),
            ("[::1]:8080", "[::1]", Some(8080)),
            ("a_b.example.com", "a_b.example.com", None),
        ] {
            let host = Host::parse(text.as_bytes()).unwrap();
            assert_eq!((host.as_str(), host.port), (name, port), "{text}");
        }
        let long = "a".repeat(254);
        for text in [
            "", ".", "a..b", ".a", "a, b", "a b", "a@b", "a/b", "a:", "a:b", "a:80:90", "a:99999",
            "[::1", "[x]", "a\u{e9}", "a%41", "a?", "a..", "[::1]x", &long,
        ] {
            assert!(Host::parse(text.as_bytes()).is_none(), "{text}");
        }
    }

    #[test]
    fn ports_default_to_the_scheme_s_when_origins_are_compared() {
        let parse = |text: &str| Host::parse(text.as_bytes()).unwrap();
        let plain = parse("a.example.com");
        assert!(plain.same_origin(&parse("A.example.com:443"), 443));
        assert!(!plain.same_origin(&parse("a.example.com:8443"), 443));
        assert!(!plain.same_origin(&parse("b.example.com"), 443));
    }

    #[test]
    fn ordinary_and_percent_encoded_paths_pass() {
        for path in [
            "/",
            "/a/b.js",
            "/a%2Fb",
            "/%20",
            "/%252e%252e/x",
            "/...",
            "/a..b",
            "/.well-known/x",
            "//a",
            "/100%",
            "/%zz",
            "/caf%C3%A9",
            "/a;b=..",
            "/@scope/pkg",
            "/%7Euser",
            "/a%5Bb%5D",
        ] {
            assert_eq!(check_path(path), Ok(()), "{path}");
        }
    }

    #[test]
    fn paths_that_could_climb_are_refused() {
        for path in [
            "/..",
            "/.",
            "/a/../b",
            "/a/./b",
            "/%2e%2e/x",
            "/%2E./x",
            "/..;/x",
            "/.;a/x",
            "/a\\b",
            "/..%2fx",
            "/x%2f..%2fy",
            "/x%5c..%5cy",
            "/%00",
            "/a%0d%0ab",
            "/a%7F",
        ] {
            assert_eq!(check_path(path), Err(BadRequest::InvalidPath), "{path}");
        }
    }

    #[test]
    fn encoding_is_undone_by_decoding() {
        let text = "/a b?c=d&e=f#%é";
        assert_eq!(
            percent_decode(percent_encode(text).as_bytes()),
            text.as_bytes()
        );
    }
}
