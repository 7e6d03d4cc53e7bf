//! The body of an answer: by length, in chunks, or until the end.
use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::{DecodeError, HEADERS_MAX};

const CHUNK_LINE_BYTES_MAX: usize = 1024;
const TRAILER_BYTES_MAX: usize = 16 * 1024;

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
