//! The one place where a refusal becomes our own reply: a page for browsers,
//! `application/problem+json` for programs.
use std::{fmt::Write as _, sync::LazyLock};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use openflow_route_api::RouteState;
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use crate::forward::{AnswerBody, BadRequest, UpstreamError};

/// Why a request is not forwarded, or has no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("{0}")]
    BadRequest(#[from] BadRequest),
    #[error("no instance answers for this host")]
    UnknownHost,
    #[error("there is nothing here")]
    NotFound,
    #[error("the routes are not known yet")]
    NoTable,
    #[error("the instance is {0:?}")]
    NotServed(RouteState, Option<String>),
    #[error("the dashboard is not reachable")]
    DashboardAway,
    #[error("{0}")]
    Upstream(#[from] UpstreamError),
    #[error("signing in is needed")]
    SignIn { launch: Option<String> },
    #[error("the access token is not valid any more")]
    TokenGone { launch: Option<String> },
    #[error("the access token is another person's")]
    OtherPerson { signed_in: String, invited: String },
    #[error("the access token cannot be checked")]
    CannotRedeem,
    #[error("the request comes from another site")]
    CrossSite,
    #[error("webhook credentials are missing or wrong")]
    WebhookCredentials(Challenge),
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Challenge {
    Basic,
    Bearer,
}

/// What a page or problem says.
struct Text {
    status: StatusCode,
    title: &'static str,
    detail: String,
    action: Action,
    retry_after_seconds: Option<u32>,
}

enum Action {
    None,
    /// A link to the dashboard that opens the instance.
    Launch(String),
    SignOut,
}

impl Refusal {
    /// The reply to a request with these headers.
    pub(crate) fn respond(self, request: &HeaderMap, request_id: &str) -> Response<AnswerBody> {
        let text = self.text();
        let mut response = match prefers_html(request) {
            true => page(&text, request_id),
            false => problem(&text, request_id),
        };
        *response.status_mut() = text.status;
        let headers = response.headers_mut();
        if let Some(seconds) = text.retry_after_seconds {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if let Self::WebhookCredentials(challenge) = self {
            let value = match challenge {
                Challenge::Basic => "Basic realm=\"webhook\", charset=\"UTF-8\"",
                Challenge::Bearer => "Bearer realm=\"webhook\"",
            };
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(value));
        }
        response
    }

    fn text(&self) -> Text {
        let (status, title, detail) = match self {
            Self::BadRequest(error) => (400, "Bad request", capitalised(&error.to_string())),
            Self::UnknownHost => (
                404,
                "No such instance",
                "No instance answers for this address.".into(),
            ),
            Self::NotFound => (404, "Not found", "There is nothing at this address.".into()),
            Self::NoTable => (
                503,
                "Just a moment",
                "Openflow is starting. Try again in a few seconds.".into(),
            ),
            Self::NotServed(state, detail) => (
                503,
                not_served_title(*state),
                not_served_detail(*state, detail),
            ),
            Self::DashboardAway => (
                502,
                "The dashboard is away",
                "Instances go on working. Try again soon.".into(),
            ),
            Self::Upstream(error) => upstream_text(error),
            Self::SignIn { .. } => (
                401,
                "Sign in",
                "This is an editor; open it from the dashboard.".into(),
            ),
            Self::TokenGone { .. } => (
                401,
                "This link has been used or has expired",
                "A link to an editor works once, within a minute. Open the instance again.".into(),
            ),
            Self::OtherPerson { signed_in, invited } => (
                409,
                "You are signed in as somebody else",
                format!(
                    "This browser is signed in here as {signed_in}, but the link was made for {invited}. \
                     Sign out here first, then open the instance again."
                ),
            ),
            Self::CannotRedeem => (
                503,
                "The link cannot be checked",
                "The manager does not answer. Open the instance again in a moment.".into(),
            ),
            Self::CrossSite => (
                403,
                "Refused",
                "The request comes from a page of another site.".into(),
            ),
            Self::WebhookCredentials(_) => (
                401,
                "Credentials needed",
                "This webhook asks for credentials; check what you send.".into(),
            ),
        };
        Text {
            status: StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            title,
            detail,
            action: self.action(),
            retry_after_seconds: self.retry_after_seconds(),
        }
    }

    fn action(&self) -> Action {
        match self {
            Self::SignIn { launch: Some(url) } | Self::TokenGone { launch: Some(url) } => {
                Action::Launch(url.clone())
            }
            Self::OtherPerson { .. } => Action::SignOut,
            _ => Action::None,
        }
    }

    fn retry_after_seconds(&self) -> Option<u32> {
        match self {
            Self::NoTable => Some(1),
            Self::NotServed(RouteState::Starting | RouteState::Sleeping, _) => Some(2),
            Self::NotServed(
                RouteState::Running | RouteState::Unhealthy | RouteState::SafeMode,
                _,
            ) => Some(2),
            Self::NotServed(RouteState::Stopping | RouteState::Crashed, _) => Some(10),
            Self::NotServed(RouteState::Stopped | RouteState::Failed, _) => Some(60),
            Self::CannotRedeem | Self::DashboardAway => Some(5),
            _ => None,
        }
    }
}

fn not_served_title(state: RouteState) -> &'static str {
    match state {
        RouteState::Starting
        | RouteState::Running
        | RouteState::Unhealthy
        | RouteState::SafeMode => "The instance is starting",
        RouteState::Stopping => "The instance is stopping",
        RouteState::Stopped => "The instance is stopped",
        RouteState::Sleeping => "The instance is asleep",
        RouteState::Crashed => "The instance has crashed",
        RouteState::Failed => "The instance could not be started",
    }
}

fn not_served_detail(state: RouteState, detail: &Option<String>) -> String {
    let advice = match state {
        RouteState::Starting
        | RouteState::Running
        | RouteState::Unhealthy
        | RouteState::SafeMode => "It will answer in a moment.",
        RouteState::Stopping | RouteState::Stopped => "Start it in the dashboard.",
        RouteState::Sleeping => "Wake it in the dashboard.",
        RouteState::Crashed => "It is being started again.",
        RouteState::Failed => "See its log in the dashboard.",
    };
    match detail {
        Some(detail) => format!("{detail}. {advice}"),
        None => advice.to_owned(),
    }
}

fn upstream_text(error: &UpstreamError) -> (u16, &'static str, String) {
    match error {
        UpstreamError::ConnectTimeout | UpstreamError::Timeout => (
            504,
            "The instance did not answer in time",
            "It may be busy. Try again later.".into(),
        ),
        UpstreamError::Request(_) => (
            400,
            "Bad request",
            "The request's body did not arrive whole.".into(),
        ),
        UpstreamError::Revoked => (
            401,
            "Sign in",
            "Your access to this instance has ended.".into(),
        ),
        UpstreamError::Connect(_) => (
            502,
            "The instance does not answer",
            "Nothing listens at its address. It may be restarting.".into(),
        ),
        _ => (
            502,
            "The instance does not answer",
            "It broke the connection. See its log in the dashboard.".into(),
        ),
    }
}

fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|first| first.to_uppercase().to_string());
    format!("{}{}.", first.unwrap_or_default(), letters.as_str())
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

/// Where the page for [`Refusal::OtherPerson`] posts to.
pub(crate) const SIGN_OUT_PATH: &str = "/openflow/sign-out";

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
    match prefers_html(request) {
        true => page(&text, request_id),
        false => problem(&text, request_id),
    }
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
