//! Which headers pass, in both directions, and what we add.
//!
//! Always holds: what an instance reads in `X-Openflow-*` and `X-Forwarded-*`
//! was written here, whatever the caller sent in whatever spelling.
use std::borrow::Cow;

use bytes::BytesMut;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header, request};

/// Cookies of ours begin so; no instance sees or sets one.
const OUR_COOKIES: &[u8] = b"openflow_";
const OUR_HEADERS: &str = "x-openflow-";

/// What an answer says to us alone.
static HOP_BY_HOP: [HeaderName; 7] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::TRAILER,
    header::PROXY_AUTHENTICATE,
    HeaderName::from_static("proxy-connection"),
];

/// A request's head as an instance is to read it.
pub(crate) struct Outgoing<'a> {
    pub(crate) parts: &'a request::Parts,
    /// Put before the path: `/api` for a request that is tried again there.
    pub(crate) prefix: &'a str,
    /// Path and query.
    pub(crate) target: &'a str,
    /// As the caller wrote it, or in normal form when that differs.
    pub(crate) host: &'a str,
    pub(crate) forwarded: &'a Forwarded<'a>,
    pub(crate) request_id: &'a str,
    /// Value of `X-Openflow-Identity`.
    pub(crate) identity: Option<&'a str>,
    pub(crate) keep_our_cookies: bool,
    pub(crate) keep_authorization: bool,
    /// The protocol to upgrade to.
    pub(crate) upgrade: Option<&'a HeaderValue>,
}

/// Who asked, over what, under which host: the caller's, or what a trusted
/// proxy in front said about the caller.
pub(crate) struct Forwarded<'a> {
    pub(crate) client: Cow<'a, str>,
    pub(crate) host: &'a str,
    pub(crate) is_https: bool,
    /// Keep `Forwarded` and `X-Real-IP` as the trusted proxy set them.
    pub(crate) trusted: bool,
}

impl Outgoing<'_> {
    /// Writes all but the framing and the empty line; see [`write_framing`].
    pub(crate) fn write(&self, out: &mut BytesMut) {
        let mut put = |parts: &[&[u8]]| parts.iter().for_each(|part| out.extend_from_slice(part));
        put(&[
            self.parts.method.as_str().as_bytes(),
            b" ",
            self.prefix.as_bytes(),
        ]);
        put(&[
            self.target.as_bytes(),
            b" HTTP/1.1\r\nhost: ",
            self.host.as_bytes(),
            b"\r\n",
        ]);
        let listed = Listed::of(&self.parts.headers);
        for (name, value) in &self.parts.headers {
            let passes = match classify(name) {
                Kind::Plain => !listed.contains(name),
                Kind::Authorization => self.keep_authorization,
                Kind::Trusted => self.forwarded.trusted,
                Kind::Cookie | Kind::Reserved => false,
            };
            if passes {
                put(&[name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"]);
            }
        }
        let proto: &[u8] = if self.forwarded.is_https {
            b"https"
        } else {
            b"http"
        };
        put(&[
            b"x-forwarded-for: ",
            self.forwarded.client.as_bytes(),
            b"\r\nx-forwarded-proto: ",
            proto,
        ]);
        put(&[b"\r\nx-forwarded-host: ", self.forwarded.host.as_bytes()]);
        put(&[b"\r\nx-request-id: ", self.request_id.as_bytes(), b"\r\n"]);
        if let Some(identity) = self.identity {
            put(&[b"x-openflow-identity: ", identity.as_bytes(), b"\r\n"]);
        }
        if let Some(protocol) = self.upgrade {
            put(&[
                b"connection: upgrade\r\nupgrade: ",
                protocol.as_bytes(),
                b"\r\n",
            ]);
        }
        self.write_cookies(out);
    }

    fn write_cookies(&self, out: &mut BytesMut) {
        let mut written = false;
        for value in self.parts.headers.get_all(header::COOKIE) {
            for cookie in value.as_bytes().split(|&byte| byte == b';') {
                let cookie = cookie.trim_ascii();
                if cookie.is_empty() || (!self.keep_our_cookies && is_ours(cookie)) {
                    continue;
                }
                // HTTP/2 may carry each cookie in a header of its own.
                out.extend_from_slice(if written { b"; " } else { b"cookie: " });
                out.extend_from_slice(cookie);
                written = true;
            }
        }
        if written {
            out.extend_from_slice(b"\r\n");
        }
    }
}

/// Ends the head with what tells where the body ends.
pub(crate) fn write_framing(out: &mut BytesMut, method: &Method, empty: bool, length: Option<u64>) {
    match (empty, length) {
        (true, _) if matches!(*method, Method::POST | Method::PUT | Method::PATCH) => {
            out.extend_from_slice(b"content-length: 0\r\n\r\n");
        }
        (true, _) => out.extend_from_slice(b"\r\n"),
        (false, Some(length)) => {
            let line = format!("content-length: {length}\r\n\r\n");
            out.extend_from_slice(line.as_bytes());
        }
        (false, None) => out.extend_from_slice(b"transfer-encoding: chunked\r\n\r\n"),
    }
}

pub(crate) fn write_trailers(out: &mut BytesMut, trailers: &HeaderMap) {
    for (name, value) in trailers {
        if classify(name) == Kind::Plain {
            out.extend_from_slice(name.as_str().as_bytes());
            out.extend_from_slice(b": ");
            out.extend_from_slice(value.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
    }
}

/// Without the names that mean something in a head.
pub(crate) fn safe_trailers(trailers: HeaderMap) -> HeaderMap {
    let mut safe = HeaderMap::new();
    for (name, value) in &trailers {
        if classify(name) == Kind::Plain && name != header::SET_COOKIE {
            safe.append(name.clone(), value.clone());
        }
    }
    safe
}

/// Takes out of an answer what is for us alone or not for the browser.
///
/// `chunked` says that the body ends with its last chunk, whatever length the
/// head claims beside it.
pub(crate) fn clean_answer(headers: &mut HeaderMap, from_instance: bool, chunked: bool) {
    let mut sets_cookies = false;
    let mut doomed: Vec<HeaderName> = Vec::new();
    let mut hop_by_hop = [false; HOP_BY_HOP.len()];
    let listed = Listed::of(headers);
    for name in headers.keys() {
        sets_cookies |= *name == header::SET_COOKIE;
        let untrue = chunked && *name == header::CONTENT_LENGTH;
        let ours = from_instance && name.as_str().starts_with(OUR_HEADERS);
        if let Some(known) = HOP_BY_HOP.iter().position(|each| each == name) {
            hop_by_hop[known] = true;
        } else if untrue || ours || listed.contains(name) {
            doomed.push(name.clone());
        }
    }
    for (name, _) in HOP_BY_HOP
        .iter()
        .zip(hop_by_hop)
        .filter(|(_, present)| *present)
    {
        headers.remove(name);
    }
    for name in doomed {
        headers.remove(name);
    }
    if from_instance && sets_cookies {
        clean_set_cookies(headers);
    }
}

fn clean_set_cookies(headers: &mut HeaderMap) {
    let header::Entry::Occupied(entry) = headers.entry(header::SET_COOKIE) else {
        return;
    };
    let (name, values) = entry.remove_entry_mult();
    let values: Vec<_> = values.filter_map(clean_set_cookie).collect();
    for value in values {
        headers.append(&name, value);
    }
}

/// Without its `Domain`; `None` for a cookie of our name. A cookie without a
/// name is sent back as its bare value, so the value counts as a name too.
fn clean_set_cookie(value: HeaderValue) -> Option<HeaderValue> {
    let mut parts = value.as_bytes().split(|&byte| byte == b';');
    let pair = parts.next().unwrap_or_default();
    let mut bare = pair.trim_ascii();
    while let [b'=', rest @ ..] = bare {
        bare = rest.trim_ascii();
    }
    if is_ours(bare) {
        return None;
    }
    let is_domain = |attribute: &&[u8]| {
        let name = attribute.split(|&byte| byte == b'=').next();
        name.is_some_and(|name| name.trim_ascii().eq_ignore_ascii_case(b"domain"))
    };
    if !parts.clone().any(|attribute| is_domain(&attribute)) {
        return Some(value);
    }
    let mut cleaned = pair.to_vec();
    for attribute in parts.filter(|attribute| !is_domain(attribute)) {
        cleaned.push(b';');
        cleaned.extend_from_slice(attribute);
    }
    HeaderValue::from_bytes(&cleaned).ok()
}

/// Whether a cookie of this text (`name=value`) is one of ours.
pub(crate) fn is_ours(cookie: &[u8]) -> bool {
    let start = cookie.get(..OUR_COOKIES.len());
    start.is_some_and(|start| start.eq_ignore_ascii_case(OUR_COOKIES))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Plain,
    Authorization,
    Cookie,
    /// Passed on from a trusted proxy only.
    Trusted,
    /// Written by us or by nobody.
    Reserved,
}

fn classify(name: &HeaderName) -> Kind {
    let name = name.as_str();
    match name.as_bytes() {
        [b'a', ..] if name == "authorization" => Kind::Authorization,
        [b'c', ..] => match name {
            "cookie" => Kind::Cookie,
            "connection" | "content-length" => Kind::Reserved,
            _ => twin_or_plain(name),
        },
        [b'e', ..] if name == "expect" => Kind::Reserved,
        [b'f', ..] if name == "forwarded" => Kind::Trusted,
        [b'h', ..] if matches!(name, "host" | "http2-settings") => Kind::Reserved,
        [b'k', ..] if name == "keep-alive" => Kind::Reserved,
        [b'p', b'r', b'o', b'x', b'y', ..] => Kind::Reserved,
        [b't', ..] if matches!(name, "te" | "trailer" | "transfer-encoding") => Kind::Reserved,
        [b'u', ..] if name == "upgrade" => Kind::Reserved,
        [b'x', ..] if name == "x-real-ip" => Kind::Trusted,
        [b'x', b'-', rest @ ..]
            if rest.starts_with(b"openflow")
                || rest.starts_with(b"forwarded")
                || rest == b"request-id" =>
        {
            Kind::Reserved
        }
        _ => twin_or_plain(name),
    }
}

/// `X_Forwarded_For` is read as `X-Forwarded-For` by what follows CGI's rules.
fn twin_or_plain(name: &str) -> Kind {
    if !name.as_bytes().contains(&b'_') {
        return Kind::Plain;
    }
    let dashed = name.replace('_', "-");
    match HeaderName::from_bytes(dashed.as_bytes()).map(|name| classify(&name)) {
        Ok(Kind::Plain) => Kind::Plain,
        _ => Kind::Reserved,
    }
}

/// The headers that `Connection` names as hop-by-hop.
struct Listed<'a> {
    headers: &'a HeaderMap,
    any: bool,
}

impl<'a> Listed<'a> {
    fn of(headers: &'a HeaderMap) -> Self {
        let plain = |value: &HeaderValue| {
            let value = value.as_bytes();
            value.eq_ignore_ascii_case(b"keep-alive") || value.eq_ignore_ascii_case(b"close")
        };
        let any = headers
            .get_all(header::CONNECTION)
            .iter()
            .any(|value| !plain(value));
        Self { headers, any }
    }

    fn contains(&self, name: &HeaderName) -> bool {
        let values = || self.headers.get_all(header::CONNECTION).iter();
        self.any && values().any(|value| has_token(value, name.as_str()))
    }
}

/// Whether a comma-separated header value holds `token`.
pub(crate) fn has_token(value: &HeaderValue, token: &str) -> bool {
    let mut tokens = value.as_bytes().split(|&byte| byte == b',');
    tokens.any(|each| each.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(name: &str) -> Kind {
        classify(&HeaderName::from_bytes(name.as_bytes()).unwrap())
    }

    #[test]
    fn reserved_names_are_known_in_every_spelling() {
        for name in [
            "X-Openflow-Identity",
            "x_openflow_identity",
            "X-Openflow_Session",
            "x-openflow",
            "X-Forwarded-For",
            "x_forwarded-for",
            "X-Forwarded-Anything",
            "Connection",
            "TE",
            "Transfer_Encoding",
            "Content_Length",
            "Proxy-Authorization",
            "Host",
            "Expect",
            "x_request_id",
            "X_Real_IP",
            "cookie_",
            "Keep-Alive",
        ] {
            let expected = if name == "cookie_" {
                Kind::Plain
            } else {
                Kind::Reserved
            };
            assert_eq!(kind(name), expected, "{name}");
        }
        for name in [
            "accept",
            "x-api-key",
            "api_key",
            "content-type",
            "x-hub-signature",
            "origin",
            "range",
        ] {
            assert_eq!(kind(name), Kind::Plain, "{name}");
        }
        assert_eq!(kind("authorization"), Kind::Authorization);
        assert_eq!(kind("forwarded"), Kind::Trusted);
    }

    #[test]
    fn an_instance_sets_cookies_for_its_own_host_and_never_ours() {
        for (given, cleaned) in [
            ("a=1; Path=/; HttpOnly", Some("a=1; Path=/; HttpOnly")),
            ("a=1; Domain=example.com; Path=/", Some("a=1; Path=/")),
            ("a=1;domain = .example.com", Some("a=1")),
            ("a=1; DOMAIN", Some("a=1")),
            ("openflow_token=x", None),
            (" OpenFlow_Token =x", None),
            ("=openflow_token=x", None),
            ("= =openflow_token=x; Path=/", None),
            ("openflow_token", None),
            ("open=openflow_token", Some("open=openflow_token")),
        ] {
            let value = clean_set_cookie(HeaderValue::from_static(given));
            let value = value.as_ref().map(|value| value.to_str().unwrap());
            assert_eq!(value, cleaned, "{given}");
        }
    }
}
