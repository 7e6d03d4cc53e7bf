use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::Problem;
use crate::kernel::{Page, PageRequest};

/// `?limit=&cursor=` of a list.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PageQuery {
    /// How many items at the most: 1 to 200, 50 when absent.
    pub limit: Option<i64>,
    /// `nextCursor` of the page before.
    pub cursor: Option<String>,
}

impl PageQuery {
    /// Fails with 422 for a limit or cursor out of range.
    pub fn request(&self) -> Result<PageRequest, Problem> {
        let limit = self.limit.unwrap_or(PageRequest::LIMIT_DEFAULT);
        if !(1..=PageRequest::LIMIT_MAX).contains(&limit) {
            return Err(Problem::invalid_field(
                "request.bad_limit",
                "limit",
                "limit is a number from 1 to 200",
            ));
        }
        let after = match self.cursor.as_deref() {
            None | Some("") => None,
            Some(text) => Some(Uuid::parse_str(text).map_err(|_| {
                Problem::invalid_field(
                    "request.bad_cursor",
                    "cursor",
                    "cursor is the nextCursor of the page before",
                )
            })?),
        };
        Ok(PageRequest { limit, after })
    }
}

/// A list's JSON.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PageView<T> {
    pub items: Vec<T>,
    /// Pass it as `cursor` for the next page; `null` on the last one.
    pub next_cursor: Option<String>,
}

impl<T> PageView<T> {
    /// A list that is always whole.
    pub fn whole(items: Vec<T>) -> Self {
        Self {
            items,
            next_cursor: None,
        }
    }
}

impl<T, U: From<T>> From<Page<T>> for PageView<U> {
    fn from(page: Page<T>) -> Self {
        Self {
            items: page.items.into_iter().map(U::from).collect(),
            next_cursor: page.next.map(|it| it.to_string()),
        }
    }
}
