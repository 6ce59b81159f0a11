//! Sends the bytes of a blob: whole, or the ranges that were asked for.

use std::{fs::File, io, os::unix::fs::FileExt as _, sync::Arc};

use actix_web::{
    HttpResponse, HttpResponseBuilder,
    body::SizedStream,
    http::{Method, StatusCode, header},
    web::Bytes,
};
use futures_util::{Stream, StreamExt as _, stream};

use super::{
    range::{Ranges, Selection},
    registry::IMMUTABLE,
};

/// So much of a file is read at once.
const CHUNK: u64 = 128 * 1024;

/// Between the parts of an answer to several ranges. It stands in no blob by chance.
const BOUNDARY: &str = "portolan-7d2f4c9be1a85036";

const CONTENT_TYPE: &str = "application/octet-stream";

/// Where the bytes are.
#[derive(Clone, Debug)]
pub(super) enum Source {
    Memory(Bytes),
    File(Arc<File>),
}

/// One piece of an answer's body.
enum Piece {
    Text(String),
    Bytes(u64, u64),
}

/// Answers with a blob of `length` bytes. The status and headers of RFC 9110, section 14, and
/// `application/octet-stream` always, for nothing else fits every blob; never compressed.
/// Bytes may be kept for ever, that a range was wrong may not: a cache would answer everyone with it.
pub(super) fn respond(method: &Method, source: Source, length: u64, ranges: &Ranges) -> HttpResponse {
    let (mut response, pieces) = match ranges.select(length) {
        Selection::Unsatisfiable => {
            return HttpResponse::build(StatusCode::RANGE_NOT_SATISFIABLE)
                .insert_header((header::CONTENT_RANGE, format!("bytes */{length}")))
                .finish();
        }
        Selection::Whole => (builder(StatusCode::OK, CONTENT_TYPE), vec![Piece::Bytes(0, length)]),
        Selection::Parts(parts) => match parts[..] {
            [(first, last)] => {
                let mut response = builder(StatusCode::PARTIAL_CONTENT, CONTENT_TYPE);
                response.insert_header((header::CONTENT_RANGE, format!("bytes {first}-{last}/{length}")));
                (response, vec![Piece::Bytes(first, last + 1)])
            }
            _ => {
                let content_type = format!("multipart/byteranges; boundary={BOUNDARY}");
                (builder(StatusCode::PARTIAL_CONTENT, &content_type), multipart(&parts, length))
            }
        },
    };
    let total = pieces.iter().map(Piece::length).sum();
    if method == Method::HEAD {
        return response.body(SizedStream::new(total, stream::empty::<io::Result<Bytes>>()));
    }
    response.body(SizedStream::new(total, body(source, pieces)))
}

fn builder(status: StatusCode, content_type: &str) -> HttpResponseBuilder {
    let mut response = HttpResponse::build(status);
    response.insert_header((header::CONTENT_TYPE, content_type));
    response.insert_header((header::ACCEPT_RANGES, "bytes"));
    response.insert_header((header::CACHE_CONTROL, IMMUTABLE));
    response
}

fn multipart(parts: &[(u64, u64)], length: u64) -> Vec<Piece> {
    let head = |first, last| {
        Piece::Text(format!(
            "\r\n--{BOUNDARY}\r\nContent-Type: {CONTENT_TYPE}\r\nContent-Range: bytes {first}-{last}/{length}\r\n\r\n"
        ))
    };
    let pieces = parts.iter().flat_map(|&(first, last)| [head(first, last), Piece::Bytes(first, last + 1)]);
    pieces.chain([Piece::Text(format!("\r\n--{BOUNDARY}--\r\n"))]).collect()
}

impl Piece {
    fn length(&self) -> u64 {
        match self {
            Self::Text(text) => text.len() as u64,
            Self::Bytes(start, end) => end - start,
        }
    }
}

fn body(source: Source, pieces: Vec<Piece>) -> impl Stream<Item = io::Result<Bytes>> {
    stream::iter(pieces).flat_map(move |piece| match piece {
        Piece::Text(text) => stream::once(async { Ok(Bytes::from(text)) }).boxed_local(),
        Piece::Bytes(start, end) => chunks(source.clone(), start, end).boxed_local(),
    })
}

fn chunks(source: Source, start: u64, end: u64) -> impl Stream<Item = io::Result<Bytes>> {
    stream::try_unfold((source, start), move |(source, at)| async move {
        if at >= end {
            return Ok(None);
        }
        let length = (end - at).min(CHUNK) as usize;
        let bytes = match &source {
            Source::Memory(bytes) => bytes.slice(at as usize..at as usize + length),
            Source::File(file) => {
                let file = file.clone();
                let read = move || {
                    let mut bytes = vec![0; length];
                    file.read_exact_at(&mut bytes, at).map(|()| Bytes::from(bytes))
                };
                tokio::task::spawn_blocking(read).await.map_err(io::Error::other)??
            }
        };
        Ok(Some((bytes, (source, at + length as u64))))
    })
}
