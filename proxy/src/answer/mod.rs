//! The one place where a refusal becomes our own reply: a page for browsers,
//! `application/problem+json` for programs.
mod render;

use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use openflow_route_api::RouteState;

pub(crate) use render::{SIGN_OUT_PATH, prefers_html, redirect, signed_out};

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
        let mut response = render::reply(&text, request, request_id);
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
            Self::BadRequest(BadRequest::TooLarge) => (
                431,
                "Head too large",
                capitalised(&BadRequest::TooLarge.to_string()),
            ),
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
                "Without signing in there is nothing here. Open the editor from the dashboard; if you call a webhook, check its address.".into(),
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
