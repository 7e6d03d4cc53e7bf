//! Reads HTTP/1.1 answers from bytes. Instances are not trusted: whatever is
//! ambiguous or too large is an error, never a guess. Pure.
use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};

const HEAD_BYTES_MAX: usize = 64 * 1024;
const HEADERS_MAX: usize = 128;
const CHUNK_LINE_BYTES_MAX: usize = 1024;
const TRAILER_BYTES_MAX: usize = 16 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DecodeError {
    #[error("the instance's answer is not HTTP/1.1")]
    Syntax,
    #[error("the head of the instance's answer is larger than 64 KiB")]
    TooLarge,
    #[error("the framing of the instance's answer is ambiguous")]
    Framing,
}

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
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut headers);
    let length = match response.parse(buffer) {
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

/// Where an answer's body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyDecoder {
    Done,
    Length(u64),
    Chunked(Chunk),
    UntilClose,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Chunk {
    Size,
    Data(u64),
    /// The line end after a chunk's data.
    End,
    Trailers,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    Data(Bytes),
    Trailers(HeaderMap),
    /// More bytes are needed.
    Partial,
    Done,
}

impl BodyDecoder {
    pub(crate) fn is_chunked(self) -> bool {
        matches!(self, Self::Chunked(_))
    }

    /// Takes the next piece of the body off `buffer`.
    pub(crate) fn take(&mut self, buffer: &mut BytesMut) -> Result<Piece, DecodeError> {
        loop {
            match self {
                Self::Done => return Ok(Piece::Done),
                _ if buffer.is_empty() => return Ok(Piece::Partial),
                Self::UntilClose => return Ok(Piece::Data(buffer.split().freeze())),
                Self::Length(left) => {
                    let data = take_up_to(buffer, left);
                    if *left == 0 {
                        *self = Self::Done;
                    }
                    return Ok(Piece::Data(data));
                }
                Self::Chunked(Chunk::Data(left)) => {
                    let data = take_up_to(buffer, left);
                    if *left == 0 {
                        *self = Self::Chunked(Chunk::End);
                    }
                    return Ok(Piece::Data(data));
                }
                Self::Chunked(Chunk::Size) => match take_line(buffer)? {
                    None => return Ok(Piece::Partial),
                    Some(line) => *self = Self::Chunked(parse_chunk_size(&line)?),
                },
                Self::Chunked(Chunk::End) => match buffer.get(..2) {
                    None => return Ok(Piece::Partial),
                    Some(b"\r\n") => {
                        buffer.advance(2);
                        *self = Self::Chunked(Chunk::Size);
                    }
                    Some(_) => return Err(DecodeError::Framing),
                },
                Self::Chunked(Chunk::Trailers) => {
                    let Some(trailers) = take_trailers(buffer)? else {
                        return Ok(Piece::Partial);
                    };
                    *self = Self::Done;
                    if !trailers.is_empty() {
                        return Ok(Piece::Trailers(trailers));
                    }
                }
            }
        }
    }
}

fn take_up_to(buffer: &mut BytesMut, left: &mut u64) -> Bytes {
    let length = buffer
        .len()
        .min(usize::try_from(*left).unwrap_or(usize::MAX));
    *left -= length as u64;
    buffer.split_to(length).freeze()
}

fn take_line(buffer: &mut BytesMut) -> Result<Option<Bytes>, DecodeError> {
    match buffer.iter().position(|&byte| byte == b'\n') {
        Some(end) if end <= CHUNK_LINE_BYTES_MAX => {
            let line = buffer.split_to(end + 1).freeze();
            let line = line.strip_suffix(b"\r\n").map(|bare| line.slice_ref(bare));
            line.map(Some).ok_or(DecodeError::Framing)
        }
        None if buffer.len() <= CHUNK_LINE_BYTES_MAX => Ok(None),
        _ => Err(DecodeError::Framing),
    }
}

fn parse_chunk_size(line: &[u8]) -> Result<Chunk, DecodeError> {
    let digits = line.split(|&byte| byte == b';').next().unwrap_or_default();
    let digits = digits.trim_ascii_end();
    if digits.is_empty() || 15 < digits.len() || !digits.iter().all(u8::is_ascii_hexdigit) {
        return Err(DecodeError::Framing);
    }
    let digits = std::str::from_utf8(digits).map_err(|_| DecodeError::Framing)?;
    match u64::from_str_radix(digits, 16) {
        Ok(0) => Ok(Chunk::Trailers),
        Ok(size) => Ok(Chunk::Data(size)),
        Err(_) => Err(DecodeError::Framing),
    }
}

fn take_trailers(buffer: &mut BytesMut) -> Result<Option<HeaderMap>, DecodeError> {
    if buffer.starts_with(b"\r\n") {
        buffer.advance(2);
        return Ok(Some(HeaderMap::new()));
    }
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let (length, parsed) = match httparse::parse_headers(buffer, &mut headers) {
        Ok(httparse::Status::Complete(complete)) => complete,
        Ok(httparse::Status::Partial) if buffer.len() <= TRAILER_BYTES_MAX => return Ok(None),
        Ok(httparse::Status::Partial) => return Err(DecodeError::TooLarge),
        Err(_) => return Err(DecodeError::Syntax),
    };
    let mut trailers = HeaderMap::new();
    for header in parsed {
        let name = HeaderName::from_bytes(header.name.as_bytes());
        let value = HeaderValue::from_bytes(header.value);
        if let (Ok(name), Ok(value)) = (name, value) {
            trailers.append(name, value);
        }
    }
    buffer.advance(length);
    Ok(Some(trailers))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head_of(text: &str) -> Result<Option<Head>, DecodeError> {
        take_head(&mut BytesMut::from(text), &Method::GET)
    }

    /// Feeds `text` in pieces of `step` bytes; the data, or the error.
    fn decode(
        mut decoder: BodyDecoder,
        text: &str,
        step: usize,
    ) -> Result<(String, BytesMut), DecodeError> {
        let (mut buffer, mut data) = (BytesMut::new(), Vec::new());
        for part in text.as_bytes().chunks(step) {
            buffer.extend_from_slice(part);
            loop {
                match decoder.take(&mut buffer)? {
                    Piece::Data(piece) => data.extend_from_slice(&piece),
                    Piece::Trailers(trailers) => assert_eq!(trailers["x-sum"], "1"),
                    Piece::Partial | Piece::Done => break,
                }
            }
        }
        assert_eq!(decoder, BodyDecoder::Done);
        Ok((String::from_utf8(data).unwrap(), buffer))
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

    #[test]
    fn bodies_are_read_whatever_the_pieces() {
        let chunked = "5\r\nhello\r\n6;ext=1\r\n world\r\n0\r\nX-Sum: 1\r\n\r\nrest";
        for step in [1, 2, 3, 7, 100] {
            let (data, rest) = decode(BodyDecoder::Chunked(Chunk::Size), chunked, step).unwrap();
            assert_eq!((data.as_str(), &rest[..]), ("hello world", &b"rest"[..]));
            let (data, rest) = decode(BodyDecoder::Length(5), "hellorest", step).unwrap();
            assert_eq!((data.as_str(), &rest[..]), ("hello", &b"rest"[..]));
        }
    }

    #[test]
    fn broken_chunks_are_errors() {
        let long = "1".repeat(CHUNK_LINE_BYTES_MAX + 1);
        for text in [
            "x\r\n",
            "\r\n",
            "5\nhello",
            "-1\r\n",
            "1\r\nab\r\n",
            "ffffffffffffffff1\r\n",
            "1 1\r\n",
            &long,
        ] {
            let mut decoder = BodyDecoder::Chunked(Chunk::Size);
            let mut buffer = BytesMut::from(text);
            let mut result = decoder.take(&mut buffer);
            if matches!(result, Ok(Piece::Data(_))) {
                result = decoder.take(&mut buffer);
            }
            assert!(result.is_err(), "{text}");
        }
    }
}
