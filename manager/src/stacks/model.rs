use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Error;
use crate::{
    engines::{Engine, Storage},
    kernel::StackId,
};

const NAME_CHARS_MAX: usize = 100;
const IMAGE_BYTES_MAX: usize = 255;

/// Whether instances can start from a stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum StackStatus {
    Pulling,
    Ready,
    Failed,
}

impl StackStatus {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Pulling => "pulling",
            Self::Ready => "ready",
            Self::Failed => "failed",
        }
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        [Self::Pulling, Self::Ready, Self::Failed]
            .into_iter()
            .find(|it| it.as_str() == text)
    }
}

/// An engine at a version: the image that instances start from.
#[derive(Clone, Debug)]
pub struct Stack {
    pub id: StackId,
    pub name: String,
    pub engine: Engine,
    /// The image's label `openflow.version`; empty until it was seen.
    pub version: String,
    pub image: String,
    /// It never changes.
    pub storage: Storage,
    pub status: StackStatus,
    pub status_detail: Option<String>,
    pub is_default: bool,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

/// What an administrator says of a new stack.
#[derive(Clone, Debug)]
pub struct NewStack {
    pub name: String,
    pub engine: Engine,
    pub image: String,
    pub storage: Storage,
}

impl NewStack {
    pub fn parse(name: &str, engine: Engine, image: &str, storage: Storage) -> Result<Self, Error> {
        if storage == Storage::Postgres && engine.facts().postgres.is_none() {
            return Err(Error::NoPostgres(engine.facts().title));
        }
        Ok(Self {
            name: parse_name(name)?,
            engine,
            image: parse_image(image)?,
            storage,
        })
    }
}

pub(super) fn parse_name(name: &str) -> Result<String, Error> {
    let name = name.trim();
    if name.is_empty()
        || NAME_CHARS_MAX < name.chars().count()
        || name.chars().any(char::is_control)
    {
        return Err(Error::BadName);
    }
    Ok(name.to_owned())
}

/// A reference such as `openflow/node-red:5` or `registry.example.com/a/b@sha256:…`.
fn parse_image(image: &str) -> Result<String, Error> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._-/:@".contains(c);
    let legal = !image.is_empty()
        && image.len() <= IMAGE_BYTES_MAX
        && image.chars().all(allowed)
        && image.starts_with(|c: char| c.is_ascii_alphanumeric());
    if !legal {
        return Err(Error::BadImage);
    }
    Ok(image.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn image_references() {
        for good in [
            "openflow/node-red:5",
            "localhost:5000/a/b:1",
            "a@sha256:0123",
        ] {
            assert!(parse_image(good).is_ok(), "{good}");
        }
        for bad in ["", "-v/etc:/etc", "a b", "a;b", "/a", "ä"] {
            assert!(parse_image(bad).is_err(), "{bad}");
        }
    }
}
