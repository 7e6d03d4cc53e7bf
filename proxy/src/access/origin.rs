//! Sibling instances are same-site, so a cookie alone proves nothing about
//! which page sends a request. `Origin` and `Sec-Fetch-Site` do.
use http::{HeaderMap, Method, header};

use crate::forward::Host;

/// Whether a request that a cookie speaks for may change something: it comes
/// from a page of this very host, or from no browser page at all.
///
/// Only reading is exempt; an upgrade is not reading.
pub(crate) fn is_own_page(
    method: &Method,
    headers: &HeaderMap,
    host: &Host,
    is_https: bool,
    is_upgrade: bool,
) -> bool {
    let reads = matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS);
    if reads && !is_upgrade {
        return true;
    }
    let mut origins = headers.get_all(header::ORIGIN).iter();
    let own_origin = match (origins.next(), origins.next()) {
        (None, _) => true,
        (Some(origin), None) => is_own_origin(origin.as_bytes(), host, is_https),
        (Some(_), Some(_)) => false,
    };
    let mut sites = headers.get_all("sec-fetch-site").iter();
    own_origin && sites.all(|site| matches!(site.as_bytes(), b"same-origin" | b"none"))
}

fn is_own_origin(origin: &[u8], host: &Host, is_https: bool) -> bool {
    let (authority, origin_is_https) = match origin {
        [
            b'h',
            b't',
            b't',
            b'p',
            b's',
            b':',
            b'/',
            b'/',
            authority @ ..,
        ] => (authority, true),
        [b'h', b't', b't', b'p', b':', b'/', b'/', authority @ ..] => (authority, false),
        _ => return false, // `null` among them
    };
    // The scheme is not compared: an edge in front may end TLS without telling.
    let default = |is_https| if is_https { 443 } else { 80 };
    let Some(origin) = Host::parse(authority) else {
        return false;
    };
    origin.same_origin(host, default(origin_is_https))
        || origin.same_origin(host, default(is_https))
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn allowed(method: Method, headers: &[(&'static str, &'static str)], is_upgrade: bool) -> bool {
        let host = Host::parse(b"wf1.localhost:8080").unwrap();
        let headers = headers.iter().map(|(name, value)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )
        });
        is_own_page(
            &method,
            &HeaderMap::from_iter(headers),
            &host,
            false,
            is_upgrade,
        )
    }

    #[test]
    fn only_a_page_of_the_same_host_may_change_something() {
        let own = ("origin", "http://wf1.localhost:8080");
        assert!(allowed(Method::POST, &[own], false));
        assert!(allowed(Method::POST, &[], false));
        assert!(allowed(
            Method::POST,
            &[own, ("sec-fetch-site", "same-origin")],
            false
        ));
        assert!(allowed(
            Method::GET,
            &[("origin", "http://evil.localhost:8080")],
            false
        ));
        for headers in [
            &[("origin", "http://wf2.localhost:8080")][..],
            &[("origin", "http://wf1.localhost")],
            &[("origin", "http://wf1.localhost:8080.evil.com")],
            &[("origin", "null")],
            &[("origin", "")],
            &[("sec-fetch-site", "same-site")],
            &[own, ("sec-fetch-site", "cross-site")],
        ] {
            assert!(!allowed(Method::POST, headers, false), "{headers:?}");
            assert!(!allowed(Method::GET, headers, true), "{headers:?}");
        }
        assert!(allowed(Method::GET, &[own], true));
    }
}
