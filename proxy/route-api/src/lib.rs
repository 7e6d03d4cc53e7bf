//! What the manager and the proxy agree on: the route table, the editor cookie
//! and the identity credential that the settings shim checks. See `docs/wire.md`.
//! Pure: no I/O, no clock of its own.
mod key;
mod table;
mod token;

pub use key::Key;
pub use table::{
    Access, Engine, Role, Route, RouteState, RouteTable, TABLE_VERSION, WebhookAccess,
};
pub use token::{CookieClaims, IdentityClaims, TokenError, identity_key};
