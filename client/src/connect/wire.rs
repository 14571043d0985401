//! Bytes, whoever carries them: TCP, TLS over it, a tunnel through an HTTP proxy, TLS in that.

use tokio::io::{AsyncRead, AsyncWrite};

/// A byte stream.
pub(crate) trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Wire for S {}
