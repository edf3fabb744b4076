//! A request's body: JSON by its header, bounded in size and in time, packed or not.
//!
//! All bodies that are being received or worked on share a budget of memory, except small ones. A
//! large body is not read before its share is free, so that many large requests wait instead of
//! filling the memory.

use std::{io::Read, sync::Arc};

use axum::{
    body::{Body, Bytes},
    extract::Request,
    http::{HeaderMap, header},
};
use flate2::bufread::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use ruzstd::decoding::StreamingDecoder;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Limits;
use crate::error::ApiError;

/// Bodies of at most so many bytes need no share of the budget. Connections are bounded, so that
/// these take at most some 32 MB.
pub(super) const SMALL: usize = 64 << 10;

/// Bytes that large bodies may take together: two of the largest, and not less than this.
const LEAST_BUDGET: usize = 32 << 20;

/// A unit of the budget, in bytes.
const UNIT: usize = 1 << 10;

/// Memory for large bodies.
#[derive(Debug)]
pub(super) struct Budget {
    units: Arc<Semaphore>,
    all: u32,
}

impl Budget {
    pub(super) fn new(max_body: usize) -> Self {
        let units = (max_body.saturating_mul(2)).max(LEAST_BUDGET).div_ceil(UNIT);
        let all = u32::try_from(units.min(Semaphore::MAX_PERMITS)).unwrap_or(u32::MAX);
        Budget { units: Arc::new(Semaphore::new(all as usize)), all }
    }

    /// A share for a body of `bytes`; waits until it is free. `None` for a small one.
    async fn share(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        if bytes <= SMALL {
            return None;
        }
        let units = u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX).min(self.all);
        // Never closed, so that there is always a share to come.
        Arc::clone(&self.units).acquire_many_owned(units).await.ok()
    }
}

/// How a body is packed (`Content-Encoding`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Packing {
    None,
    Gzip,
    Deflate,
    Zstd,
}

/// A body as it came, with its share of the budget.
#[derive(Debug)]
pub(super) struct Received {
    bytes: Bytes,
    packing: Packing,
    limit: usize,
    _share: Option<OwnedSemaphorePermit>,
}

impl Received {
    /// Bytes that working on the body may take, as far as can be known before.
    pub(super) fn size(&self) -> usize {
        if self.packing == Packing::None { self.bytes.len() } else { self.limit }
    }

    /// The bytes of the request.
    ///
    /// # Errors
    /// A body that is not packed as its header says, or that is larger than the limit.
    pub(super) fn unpacked(&self) -> Result<Bytes, ApiError> {
        let packed: &[u8] = &self.bytes;
        match self.packing {
            Packing::None => Ok(self.bytes.clone()),
            Packing::Gzip => unpacked("gzip", MultiGzDecoder::new(packed), self.limit),
            // By RFC 9110 with zlib's header, but some clients send the bare stream.
            Packing::Deflate if has_zlib_header(packed) => {
                unpacked("deflate", ZlibDecoder::new(packed), self.limit)
            }
            Packing::Deflate => unpacked("deflate", DeflateDecoder::new(packed), self.limit),
            Packing::Zstd => match StreamingDecoder::new(packed) {
                Ok(decoder) => unpacked("zstd", decoder, self.limit),
                Err(error) => Err(not_packed("zstd", &error)),
            },
        }
    }
}

fn unpacked(name: &str, decoder: impl Read, limit: usize) -> Result<Bytes, ApiError> {
    let mut bytes = Vec::new();
    decoder
        .take(limit as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| not_packed(name, &error))?;
    if bytes.len() > limit { Err(ApiError::too_large(limit)) } else { Ok(bytes.into()) }
}

fn not_packed(name: &str, error: &dyn std::fmt::Display) -> ApiError {
    ApiError::invalid(format!("The body is not packed with {name} as its header says: {error}."))
}

/// Compression method 8 and a check of two bytes (RFC 1950).
fn has_zlib_header(bytes: &[u8]) -> bool {
    matches!(bytes, [first, second, ..]
        if first & 0x0f == 8 && u16::from_be_bytes([*first, *second]) % 31 == 0)
}

/// Receives a body.
///
/// # Errors
/// Not JSON by its header, packed in another way than this server reads (415), too large (413), too
/// slow (408), or broken off.
pub(super) async fn receive(
    request: Request,
    limits: &Limits,
    budget: &Budget,
) -> Result<Received, ApiError> {
    let (parts, body) = request.into_parts();
    // A form's type would let any web page post here without asking first.
    if !is_json(&parts.headers) {
        return Err(ApiError::media_type());
    }
    let packing = packing(&parts.headers)?;
    let length = parts
        .headers
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    let limit = limits.max_body;
    if length.is_some_and(|length| length > limit as u64) {
        return Err(ApiError::too_large(limit));
    }
    let length = length.map_or(limit, |length| length as usize);
    let bytes = if packing == Packing::None { length } else { length + limit };
    let received = tokio::time::timeout(limits.body_timeout, async {
        let share = budget.share(bytes).await;
        Ok::<_, ApiError>((collect(body, limit).await?, share))
    });
    match received.await {
        Ok(received) => {
            let (bytes, share) = received?;
            Ok(Received { bytes, packing, limit, _share: share })
        }
        Err(_) => Err(ApiError::slow_body()),
    }
}

async fn collect(body: Body, limit: usize) -> Result<Bytes, ApiError> {
    match Limited::new(body, limit).collect().await {
        Ok(whole) => Ok(whole.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(ApiError::too_large(limit)),
        Err(error) => Err(ApiError::invalid(format!("The body broke off: {error}."))),
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let mut types = headers.get_all(header::CONTENT_TYPE).iter();
    let (Some(value), None) = (types.next().and_then(|value| value.to_str().ok()), types.next())
    else {
        return false;
    };
    let kind = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    kind == "application/json" || (kind.starts_with("application/") && kind.ends_with("+json"))
}

fn packing(headers: &HeaderMap) -> Result<Packing, ApiError> {
    let mut found = Packing::None;
    let values = headers.get_all(header::CONTENT_ENCODING);
    let names = values.iter().flat_map(|value| value.to_str().unwrap_or("?").split(','));
    for name in names.map(|name| name.trim().to_ascii_lowercase()) {
        let packing = match name.as_str() {
            "" | "identity" => continue,
            "gzip" | "x-gzip" => Packing::Gzip,
            "deflate" => Packing::Deflate,
            "zstd" => Packing::Zstd,
            _ => return Err(ApiError::content_encoding(&name)),
        };
        if found != Packing::None {
            return Err(ApiError::content_encoding("one over another"));
        }
        found = packing;
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::{io::Write, time::Duration};

    use axum::http::HeaderValue;
    use flate2::{Compression, write};

    use super::*;

    #[test]
    fn only_json_types_are_json() {
        let json = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(value));
            is_json(&headers)
        };
        assert!(
            json("application/json")
                && json("Application/JSON; charset=utf-8")
                && json("application/x+json")
        );
        assert!(!json("text/plain") && !json("application/x-www-form-urlencoded") && !json(""));
        assert!(!is_json(&HeaderMap::new()));
        let mut two = HeaderMap::new();
        two.append(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        two.append(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        assert!(!is_json(&two), "of two types it is not known which one was checked before");
    }

    fn received(bytes: Vec<u8>, packing: Packing, limit: usize) -> Received {
        Received { bytes: bytes.into(), packing, limit, _share: None }
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = write::GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).and_then(|()| encoder.finish()).expect("in memory")
    }

    fn zlib(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = write::ZlibEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).and_then(|()| encoder.finish()).expect("in memory")
    }

    fn deflate(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = write::DeflateEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).and_then(|()| encoder.finish()).expect("in memory")
    }

    fn zstd(bytes: &[u8]) -> Vec<u8> {
        ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest)
    }

    #[test]
    fn packed_bodies_are_unpacked_and_bombs_are_cut_off_at_the_limit() {
        let text = br#"{"prompt": "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}"#;
        let bomb = vec![b' '; 3_000_000];
        for (packing, pack) in [
            (Packing::Gzip, gzip as fn(&[u8]) -> Vec<u8>),
            (Packing::Deflate, zlib),
            (Packing::Deflate, deflate),
            (Packing::Zstd, zstd),
        ] {
            let unpacked = received(pack(text), packing, 1000).unpacked().expect("small");
            assert_eq!(unpacked, &text[..], "{packing:?}");
            let packed = pack(&bomb);
            assert!(packed.len() < 100_000, "{packing:?}: {}", packed.len());
            let error = received(packed, packing, 1_000_000).unpacked().expect_err("large");
            assert_eq!(error.status, 413, "{packing:?}");
            let whole = pack(text);
            let half = whole[..whole.len() / 2].to_vec();
            let error = received(half, packing, 1000).unpacked().expect_err("half");
            assert_eq!(error.status, 400, "{packing:?}");
        }
    }

    #[test]
    fn other_encodings_are_refused_by_name() {
        let packing = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(value));
            packing(&headers)
        };
        assert_eq!(packing("identity"), Ok(Packing::None));
        assert_eq!(packing(" GZIP "), Ok(Packing::Gzip));
        assert_eq!(packing("zstd"), Ok(Packing::Zstd));
        for wrong in ["br", "compress", "gzip, gzip", "?"] {
            assert_eq!(packing(wrong).expect_err(wrong).status, 415);
        }
    }

    #[tokio::test]
    async fn large_bodies_share_a_budget_and_small_ones_pass() {
        let budget = Budget::new(4 << 20);
        let mut shares = Vec::new();
        for _ in 0..8 {
            shares.push(budget.share(4 << 20).await.expect("a share"));
        }
        assert!(budget.share(SMALL).await.is_none(), "a small body needs none");
        let ninth = tokio::time::timeout(Duration::from_millis(20), budget.share(SMALL + 1));
        assert!(ninth.await.is_err(), "it waits");
        shares.pop();
        assert!(budget.share(4 << 20).await.is_some());
    }
}
