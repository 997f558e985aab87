//! What the HTTP clients of registries and of the API server have in common.

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use reqwest::Response;
use rustls::pki_types::{CertificateDer, pem::PemObject};

/// At most `limit` bytes of a body, and whether that was all of it.
pub(crate) async fn body(response: Response, limit: u64) -> Result<(Bytes, bool), reqwest::Error> {
    let mut body = BytesMut::new();
    let mut chunks = response.bytes_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk?;
        let room = usize::try_from(limit).unwrap_or(usize::MAX).saturating_sub(body.len());
        if chunk.len() > room {
            body.extend_from_slice(&chunk[..room]);
            return Ok((body.freeze(), false));
        }
        body.extend_from_slice(&chunk);
    }
    Ok((body.freeze(), true))
}

/// The certificates of a PEM file, in DER; none if it holds none, or a broken one.
pub(crate) fn certificates(pem: &[u8]) -> Option<Vec<Vec<u8>>> {
    let found = CertificateDer::pem_slice_iter(pem)
        .map(|certificate| Some(certificate.ok()?.to_vec()))
        .collect::<Option<Vec<_>>>()?;
    (!found.is_empty()).then_some(found)
}
