//! Launch: the link that signs a person in to an instance's editor.
use chrono::{DateTime, Utc};
use url::form_urlencoded;

use super::{Error, Instance, Instances, Status, store};
use crate::{
    identity::Role,
    kernel::{Actor, InstanceId},
};

/// A path that the browser is sent back to; longer ones are cut to `/`.
const NEXT_BYTES_MAX: usize = 2048;

/// A link that works once, for a minute.
pub(super) struct Launch {
    pub(super) instance: InstanceId,
    pub(super) url: String,
    pub(super) expires_at: DateTime<Utc>,
}

impl Instances {
    pub(super) async fn launch(
        &self,
        actor: &Actor,
        id: InstanceId,
        next: Option<&str>,
    ) -> Result<Launch, Error> {
        let (tx, it) = self.open(actor, id, Role::Viewer).await?;
        self.launch_in(tx, actor, it, next).await
    }

    /// By subdomain or alias, for the dashboard's `/launch/<name>`.
    pub(super) async fn launch_by_name(
        &self,
        actor: &Actor,
        name: &str,
        next: Option<&str>,
    ) -> Result<Launch, Error> {
        let mut tx = self.parts.db.begin_as(actor).await?;
        let it = store::by_hostname(&mut tx, name)
            .await?
            .ok_or(Error::NotFound)?;
        self.require(&mut tx, actor, &it, Role::Viewer).await?;
        self.launch_in(tx, actor, it, next).await
    }

    async fn launch_in(
        &self,
        mut tx: crate::db::Tx,
        actor: &Actor,
        it: Instance,
        next: Option<&str>,
    ) -> Result<Launch, Error> {
        let user = actor.user().ok_or(Error::NotAPerson)?;
        let next = next_path(next)?;
        match it.status() {
            Status::Stopped | Status::Stopping => return Err(Error::NotRunning("stopped")),
            Status::Crashed => return Err(Error::NotRunning("crashed")),
            Status::Failed => return Err(Error::NotRunning("not able to start")),
            Status::Deleting => return Err(Error::Deleting),
            // One that is coming up will be there within the token's minute.
            _ => {}
        }
        let token = self.parts.access.mint(&mut tx, user, it.id).await?;
        tx.commit().await?;
        let separator = if next.contains('?') { '&' } else { '?' };
        let query: String = form_urlencoded::Serializer::new(String::new())
            .append_pair("access_token", token.text.expose())
            .finish();
        let base = self.parts.settings.url_of(&it.subdomain);
        Ok(Launch {
            instance: it.id,
            url: format!("{base}{next}{separator}{query}"),
            expires_at: token.expires_at,
        })
    }
}

/// A path on the instance, never another host: one leading slash, no
/// backslash, no control characters, and no fragment.
fn next_path(next: Option<&str>) -> Result<&str, Error> {
    let Some(next) = next else {
        return Ok("/");
    };
    let legal = next.starts_with('/')
        && !next.starts_with("//")
        && next.len() <= NEXT_BYTES_MAX
        && next
            .bytes()
            .all(|b| b.is_ascii_graphic() && b != b'\\' && b != b'#');
    if legal { Ok(next) } else { Err(Error::BadNext) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn next_goes_nowhere_else() {
        for good in ["/", "/a/b?c=d", "/%2F%2Fx"] {
            assert!(next_path(Some(good)).is_ok(), "{good}");
        }
        for bad in [
            "", "x", "//x", "/\\x", "\\\\x", "http://x", "/a b", "/a\r\nb", "/#f", "/ä",
        ] {
            assert!(next_path(Some(bad)).is_err(), "{bad}");
        }
    }
}
