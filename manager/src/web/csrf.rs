use axum::{
    extract::Request,
    http::{HeaderMap, Method, header},
    middleware::Next,
    response::Response,
};

use super::Problem;

/// Refuses state changes that a browser sends from another origin. Instances
/// live on sibling subdomains, which are same-site: SameSite cookies do not
/// stop them, so `Origin` must be this very host and `Sec-Fetch-Site` must say
/// `same-origin`. A client that sends neither is not a browser, and has no
/// cookie that it did not mean to send.
pub async fn refuse_cross_site(request: Request, next: Next) -> Result<Response, Problem> {
    let safe = matches!(
        *request.method(),
        Method::GET | Method::HEAD | Method::OPTIONS
    );
    if safe || is_same_origin(request.headers()) {
        return Ok(next.run(request).await);
    }
    Err(Problem::forbidden(
        "request.cross_site",
        "This change came from another site's page and was refused. Use the dashboard itself, or a personal access token.",
    ))
}

fn is_same_origin(headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).map(|it| it.to_str().unwrap_or("\0"));
    let site_fits = match text(header::HeaderName::from_static("sec-fetch-site")) {
        None => true,
        Some(site) => site == "same-origin" || site == "none",
    };
    let origin_fits = match text(header::ORIGIN) {
        None => true,
        Some(origin) => {
            let host = origin
                .strip_prefix("https://")
                .or_else(|| origin.strip_prefix("http://"));
            let own = text(header::HOST);
            host.is_some() && host.map(str::to_ascii_lowercase) == own.map(str::to_ascii_lowercase)
        }
    };
    site_fits && origin_fits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_own_origin_may_change_things() {
        let own = "localhost:8080";
        for (origin, site, expected) in [
            (None, None, true),
            (Some("http://localhost:8080"), Some("same-origin"), true),
            (Some("http://LOCALHOST:8080"), None, true),
            (None, Some("none"), true),
            (Some("http://evil.localhost:8080"), Some("same-site"), false),
            (Some("http://evil.localhost:8080"), None, false),
            (Some("http://localhost:8081"), None, false),
            (Some("http://localhost:8080"), Some("same-site"), false),
            (None, Some("cross-site"), false),
            (Some("null"), None, false),
            (Some("http://localhost:8080.evil.com"), None, false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, own.parse().unwrap());
            if let Some(origin) = origin {
                headers.insert(header::ORIGIN, origin.parse().unwrap());
            }
            if let Some(site) = site {
                headers.insert("sec-fetch-site", site.parse().unwrap());
            }
            assert_eq!(is_same_origin(&headers), expected, "{origin:?} {site:?}");
        }
    }
}
