//! The body of a backend's answer, whatever brought it.

use bytes::Bytes;
use http_body_util::combinators::BoxBody;

use super::Failure;

/// Dropping it before its end cancels what the backend still does.
pub(crate) type BackendBody = BoxBody<Bytes, Failure>;
