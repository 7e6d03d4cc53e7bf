//! The head of an answer, and what it says about the body.
use std::mem::MaybeUninit;

use bytes::BytesMut;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};

use super::{BodyDecoder, DecodeError, HEADERS_MAX, body::Chunk};

const HEAD_BYTES_MAX: usize = 64 * 1024;

/// An answer's head. Hop-by-hop headers are still in it.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: BodyDecoder,
    /// The connection may carry another request after this answer.
    pub(crate) keep_alive: bool,
}

/// Takes one head off `buffer`; `None` when it is not whole yet.
pub(crate) fn take_head(
    buffer: &mut BytesMut,
    method: &Method,
) -> Result<Option<Head>, DecodeError> {
    if buffer.is_empty() {
        return Ok(None);
    }
    // Left uninitialised: clearing 4 KiB for a handful of headers shows.
    let mut headers = [const { MaybeUninit::uninit() }; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut []);
    let parser = httparse::ParserConfig::default();
    let parsed = parser.parse_response_with_uninit_headers(&mut response, buffer, &mut headers);
    let length = match parsed {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) if HEAD_BYTES_MAX < buffer.len() => {
            return Err(DecodeError::TooLarge);
        }
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => return Err(DecodeError::TooLarge),
        Err(_) => return Err(DecodeError::Syntax),
    };
    if HEAD_BYTES_MAX < length {
        return Err(DecodeError::TooLarge);
    }
    let status = response
        .code
        .and_then(|code| StatusCode::from_u16(code).ok());
    let status = status.ok_or(DecodeError::Syntax)?;
    let is_http_11 = response.version == Some(1);
    // Values become slices of one shared allocation, found again by position.
    let base = buffer.as_ptr() as usize;
    let ranges: Vec<_> = response
        .headers
        .iter()
        .map(|header| {
            let start = header.value.as_ptr() as usize - base;
            (
                HeaderName::from_bytes(header.name.as_bytes()),
                start..start + header.value.len(),
            )
        })
        .collect();
    let head = buffer.split_to(length).freeze();
    let mut map = HeaderMap::with_capacity(ranges.len() + 2);
    for (name, range) in ranges {
        let name = name.map_err(|_| DecodeError::Syntax)?;
        let value = HeaderValue::from_maybe_shared(head.slice(range));
        map.append(name, value.map_err(|_| DecodeError::Syntax)?);
    }
    finish_head(status, map, method, is_http_11).map(Some)
}

fn finish_head(
    status: StatusCode,
    headers: HeaderMap,
    method: &Method,
    is_http_11: bool,
) -> Result<Head, DecodeError> {
    let chunked = is_chunked(&headers, is_http_11)?;
    let length = content_length(&headers)?;
    let bodyless = method == Method::HEAD
        || status.is_informational()
        || status == StatusCode::NO_CONTENT
        || status == StatusCode::NOT_MODIFIED;
    let body = match (bodyless, chunked, length) {
        (true, ..) => BodyDecoder::Done,
        (false, true, _) => BodyDecoder::Chunked(Chunk::Size),
        (false, false, Some(0)) => BodyDecoder::Done,
        (false, false, Some(length)) => BodyDecoder::Length(length),
        (false, false, None) => BodyDecoder::UntilClose,
    };
    let ambiguous = chunked && length.is_some();
    let keep_alive =
        !ambiguous && body != BodyDecoder::UntilClose && keeps_alive(&headers, is_http_11);
    Ok(Head {
        status,
        headers,
        body,
        keep_alive,
    })
}

fn is_chunked(headers: &HeaderMap, is_http_11: bool) -> Result<bool, DecodeError> {
    let mut values = headers.get_all(header::TRANSFER_ENCODING).iter();
    let Some(value) = values.next() else {
        return Ok(false);
    };
    let chunked = value
        .as_bytes()
        .trim_ascii()
        .eq_ignore_ascii_case(b"chunked");
    if !chunked || !is_http_11 || values.next().is_some() {
        return Err(DecodeError::Framing);
    }
    Ok(true)
}

fn content_length(headers: &HeaderMap) -> Result<Option<u64>, DecodeError> {
    let mut length = None;
    for value in headers.get_all(header::CONTENT_LENGTH) {
        let digits = value.as_bytes();
        if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
            return Err(DecodeError::Framing);
        }
        let parsed = value
            .to_str()
            .ok()
            .and_then(|digits| digits.parse::<u64>().ok());
        match (parsed, length) {
            (None, _) => return Err(DecodeError::Framing),
            (Some(parsed), Some(previous)) if parsed != previous => {
                return Err(DecodeError::Framing);
            }
            (parsed, _) => length = parsed,
        }
    }
    Ok(length)
}

fn keeps_alive(headers: &HeaderMap, is_http_11: bool) -> bool {
    let says = |token: &str| {
        let values = headers.get_all(header::CONNECTION).iter();
        let mut tokens = values.flat_map(|value| value.as_bytes().split(|&byte| byte == b','));
        tokens.any(|each| each.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
    };
    if is_http_11 {
        !says("close")
    } else {
        says("keep-alive") && !says("close")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head_of(text: &str) -> Result<Option<Head>, DecodeError> {
        take_head(&mut BytesMut::from(text), &Method::GET)
    }

    #[test]
    fn a_head_says_where_its_body_ends() {
        for (text, body, keep_alive) in [
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
                BodyDecoder::Length(5),
                true,
            ),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
                BodyDecoder::Done,
                true,
            ),
            (
                "HTTP/1.1 200\r\nTransfer-Encoding: Chunked\r\n\r\n",
                BodyDecoder::Chunked(Chunk::Size),
                true,
            ),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
                BodyDecoder::Chunked(Chunk::Size),
                false,
            ),
            ("HTTP/1.1 200 OK\r\n\r\n", BodyDecoder::UntilClose, false),
            (
                "HTTP/1.1 204 No\r\nContent-Length: 9\r\n\r\n",
                BodyDecoder::Done,
                true,
            ),
            (
                "HTTP/1.1 304 No\r\nContent-Length: 9\r\n\r\n",
                BodyDecoder::Done,
                true,
            ),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: a, Close\r\n\r\n",
                BodyDecoder::Length(5),
                false,
            ),
            (
                "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n",
                BodyDecoder::Length(5),
                false,
            ),
            (
                "HTTP/1.0 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\n",
                BodyDecoder::Length(5),
                true,
            ),
        ] {
            let head = head_of(text).unwrap().unwrap();
            assert_eq!((head.body, head.keep_alive), (body, keep_alive), "{text}");
        }
        assert!(head_of("HTTP/1.1 200 OK\r\nContent-Le").unwrap().is_none());
    }

    #[test]
    fn ambiguous_and_oversized_heads_are_errors() {
        let long = format!("HTTP/1.1 200 OK\r\nA: {}", "a".repeat(HEAD_BYTES_MAX));
        let many = format!(
            "HTTP/1.1 200 OK\r\n{}\r\n",
            "A: b\r\n".repeat(HEADERS_MAX + 1)
        );
        for (text, error) in [
            ("SSH-2.0-OpenSSH\r\n\r\n", DecodeError::Syntax),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
                DecodeError::Framing,
            ),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\n",
                DecodeError::Framing,
            ),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\n",
                DecodeError::Framing,
            ),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
                DecodeError::Framing,
            ),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
                DecodeError::Framing,
            ),
            (
                "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
                DecodeError::Framing,
            ),
            (&long, DecodeError::TooLarge),
            (&many, DecodeError::TooLarge),
        ] {
            assert_eq!(
                head_of(text).err(),
                Some(error),
                "{}",
                &text[..40.min(text.len())]
            );
        }
    }
}
