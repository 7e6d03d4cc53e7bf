use uuid::Uuid;

/// Which part of a list is asked for. Lists are paged by key, newest id last
/// unless the list says otherwise.
#[derive(Clone, Copy, Debug)]
pub struct PageRequest {
    /// 1 to [`PageRequest::LIMIT_MAX`].
    pub limit: i64,
    /// The last id of the page before; `None` for the first page.
    pub after: Option<Uuid>,
}

impl PageRequest {
    pub const LIMIT_DEFAULT: i64 = 50;
    pub const LIMIT_MAX: i64 = 200;

    /// How many rows to fetch: one more than asked for tells whether there is
    /// a next page.
    pub fn fetch(&self) -> i64 {
        self.limit + 1
    }
}

/// A part of a list.
#[derive(Clone, Debug)]
pub struct Page<T> {
    pub items: Vec<T>,
    /// Where the next page starts; `None` on the last one.
    pub next: Option<Uuid>,
}

impl<T> Page<T> {
    /// Cuts what [`PageRequest::fetch`] asked for down to the page.
    pub fn cut(mut items: Vec<T>, request: PageRequest, id: impl Fn(&T) -> Uuid) -> Self {
        let limit = usize::try_from(request.limit).unwrap_or(usize::MAX);
        let more = limit < items.len();
        items.truncate(limit);
        let next = if more { items.last().map(id) } else { None };
        Self { items, next }
    }

    pub fn map<U>(self, f: impl FnMut(T) -> U) -> Page<U> {
        Page {
            items: self.items.into_iter().map(f).collect(),
            next: self.next,
        }
    }
}
