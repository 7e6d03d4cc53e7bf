//! A page for browsers, or a problem document for programs.
use std::{fmt::Write as _, sync::LazyLock};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::{Action, Text};
use crate::forward::AnswerBody;

/// `text` in the form that the request prefers.
pub(super) fn reply(text: &Text, request: &HeaderMap, request_id: &str) -> Response<AnswerBody> {
    match prefers_html(request) {
        true => page(text, request_id),
        false => problem(text, request_id),
    }
}

/// Whether `Accept` names HTML, and nothing of JSON above it.
pub(crate) fn prefers_html(headers: &HeaderMap) -> bool {
    let (mut html, mut json) = (0.0_f32, 0.0_f32);
    for value in headers.get_all(header::ACCEPT) {
        for range in value.to_str().unwrap_or_default().split(',') {
            let mut parts = range.split(';').map(str::trim);
            let kind = parts.next().unwrap_or_default().to_ascii_lowercase();
            let weight = parts
                .find_map(|part| part.strip_prefix("q="))
                .map_or(Ok(1.0), str::parse);
            let weight = weight.unwrap_or(0.0);
            match kind.as_str() {
                "text/html" => html = html.max(weight),
                "application/json" | "application/problem+json" => json = json.max(weight),
                _ => {}
            }
        }
    }
    0.0 < html && json <= html
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Problem<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    title: &'a str,
    status: u16,
    detail: &'a str,
    request_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    launch_url: Option<&'a str>,
}

fn problem(text: &Text, request_id: &str) -> Response<AnswerBody> {
    let problem = Problem {
        kind: "about:blank",
        title: text.title,
        status: text.status.as_u16(),
        detail: &text.detail,
        request_id,
        launch_url: match &text.action {
            Action::Launch(url) => Some(url),
            _ => None,
        },
    };
    let json = serde_json::to_vec(&problem).unwrap_or_default();
    own(
        json.into(),
        HeaderValue::from_static("application/problem+json"),
    )
}

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:34rem;margin:15vh auto;padding:0 1.5rem;\
color:#222;background:#fff}h1{font-size:1.4rem}a,button{display:inline-block;font:inherit;margin-top:.5rem;\
padding:.4rem 1rem;border:0;border-radius:.3rem;background:#8f0000;color:#fff;text-decoration:none;cursor:pointer}\
small{color:#777}@media(prefers-color-scheme:dark){body{color:#ddd;background:#1b1b1b}}";

/// Only our own style runs on our pages, and nothing may frame them.
static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let hash = BASE64_STANDARD.encode(Sha256::digest(STYLE));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{hash}'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    );
    HeaderValue::try_from(policy).unwrap_or(HeaderValue::from_static("default-src 'none'"))
});

fn page(text: &Text, request_id: &str) -> Response<AnswerBody> {
    let mut html = String::with_capacity(2048);
    let (title, detail) = (text.title, escape(&text.detail));
    // Writing to a string does not fail.
    let _ = write!(
        html,
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width\"><title>{title}</title><style>{STYLE}</style></head>\
         <body><h1>{title}</h1><p>{detail}</p>"
    );
    let _ = match &text.action {
        Action::None => Ok(()),
        Action::Launch(url) => write!(html, "<p><a href=\"{}\">Open again</a></p>", escape(url)),
        Action::SignOut => {
            write!(
                html,
                "<form method=\"post\" action=\"{SIGN_OUT_PATH}\"><button>Sign out here</button></form>"
            )
        }
    };
    let status = text.status.as_u16();
    let _ = write!(
        html,
        "<p><small>{status} · request {}</small></p></body></html>",
        escape(request_id)
    );
    let mut response = own(
        html.into(),
        HeaderValue::from_static("text/html; charset=utf-8"),
    );
    response
        .headers_mut()
        .insert(header::CONTENT_SECURITY_POLICY, POLICY.clone());
    response
}

/// Signs out of the instance: where the editor's own menu leads, and the page
/// for [`Refusal::OtherPerson`].
pub(crate) const SIGN_OUT_PATH: &str = "/openflow/logout";

/// The page after signing out.
pub(crate) fn signed_out(
    launch: Option<String>,
    request: &HeaderMap,
    request_id: &str,
) -> Response<AnswerBody> {
    let text = Text {
        status: StatusCode::OK,
        title: "Signed out",
        detail: "You are signed out of this instance.".to_owned(),
        action: launch.map_or(Action::None, Action::Launch),
        retry_after_seconds: None,
    };
    reply(&text, request, request_id)
}

/// `location` must be a valid header value; an answer without it is a 500.
pub(crate) fn redirect(status: StatusCode, location: &str) -> Response<AnswerBody> {
    let mut response = own(Bytes::new(), HeaderValue::from_static("text/plain"));
    match HeaderValue::from_str(location) {
        Ok(location) => {
            *response.status_mut() = status;
            response.headers_mut().insert(header::LOCATION, location);
        }
        Err(_) => *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR,
    }
    response
}

fn own(body: Bytes, content_type: HeaderValue) -> Response<AnswerBody> {
    let mut response = Response::new(AnswerBody::Own(body));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, content_type);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(
        header::REFERRER_POLICY,
        HeaderValue::from_static("no-referrer"),
    );
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    response
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len() + 8);
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            letter => escaped.push(letter),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_for_those_who_ask_for_one() {
        for (accept, html) in [
            ("text/html,application/xhtml+xml,*/*;q=0.8", true),
            ("*/*", false),
            ("application/json", false),
            ("application/json, text/html;q=0.5", false),
            ("text/html, application/json;q=0.9", true),
            ("text/html;q=0", false),
            ("", false),
        ] {
            let headers =
                HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static(accept))]);
            assert_eq!(prefers_html(&headers), html, "{accept}");
        }
    }

    #[test]
    fn what_others_wrote_is_escaped() {
        assert_eq!(
            escape("<a href='x'>&\""),
            "&lt;a href=&#39;x&#39;&gt;&amp;&quot;"
        );
    }
}
