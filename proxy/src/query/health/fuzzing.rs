//! What a backend says of itself, for `fuzz/`.

use super::ask::Said;
use super::exposition::Exposition;

/// A page of metrics, in these pieces.
pub(in crate::query) fn exposition(pieces: &[&[u8]]) -> String {
    let mut exposition = Exposition::default();
    for piece in pieces {
        exposition.feed(piece);
    }
    let found = exposition.finish();
    let values = [found.oldest(), found.ingested_samples(), found.started()];
    assert!(values.iter().flatten().all(|value| value.is_finite()));
    format!("{found:?}")
}

/// An answer to each thing that it is asked.
pub(in crate::query) fn said(body: &[u8]) -> String {
    let said = Said {
        status: http::StatusCode::OK,
        headers: http::HeaderMap::new(),
        body: bytes::Bytes::copy_from_slice(body),
    };
    if let Some((read, all)) = said.replay() {
        assert!(read <= all);
    }
    let reason = said.reason();
    assert!(!reason.contains(char::is_control), "{reason:?}");
    format!(
        "{:?} {:?} {:?} {} {reason}",
        said.values(),
        said.started(),
        said.blocks(),
        said.error_type()
    )
}
