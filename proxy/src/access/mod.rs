//! Who may come in: webhook credentials, the editor cookie, access tokens.
//! Decides in memory; only redeeming an access token asks the manager.
mod cookie;
mod landing;
mod origin;
mod paths;
mod webhook;

pub(crate) use cookie::{SignedIn, clearing_cookie, session_cookie, signed_in};
pub(crate) use landing::{Landing, LandingError, land, take_access_token};
pub(crate) use origin::is_own_page;
pub(crate) use paths::PathClass;
pub(crate) use webhook::check as check_webhook;
