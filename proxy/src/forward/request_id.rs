//! A name for each request, for logs and for the people who report problems.
use std::cell::Cell;

use http::{HeaderMap, HeaderName};
use uuid::Uuid;

const NAME: HeaderName = HeaderName::from_static("x-request-id");
const LENGTH_MAX: usize = 64;

thread_local! {
    static NEXT: Cell<u64> = Cell::new(Uuid::new_v4().as_u64_pair().1);
}

/// The caller's id when it is a plain word, else a new one.
pub(super) fn request_id(headers: &HeaderMap) -> String {
    let given = headers.get(NAME).and_then(|value| value.to_str().ok());
    match given.filter(|given| is_sane(given)) {
        Some(given) => given.to_owned(),
        None => fresh(),
    }
}

fn is_sane(id: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    (1..=LENGTH_MAX).contains(&id.len()) && id.bytes().all(plain)
}

/// 16 hex digits; unique, not secret.
fn fresh() -> String {
    let mut bits = NEXT.get();
    // An odd step visits every value before it returns.
    NEXT.set(bits.wrapping_add(0x9e37_79b9_7f4a_7c15));
    let mut id = String::with_capacity(16);
    for _ in 0..16 {
        bits = bits.rotate_left(4);
        id.push(char::from(b"0123456789abcdef"[(bits & 15) as usize]));
    }
    id
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_sane_id_is_kept_and_others_are_replaced() {
        let of = |id: &'static str| {
            request_id(&HeaderMap::from_iter([(
                NAME,
                HeaderValue::from_static(id),
            )]))
        };
        assert_eq!(of("abc-1.2_X"), "abc-1.2_X");
        for bad in ["", "a b", "<script>", "a\"b"] {
            let id = of(bad);
            assert_eq!(id.len(), 16, "{bad}");
            assert_ne!(id, of(bad));
        }
    }
}
