//! Why a backend gave no answer.

/// Why a backend gave no answer, or not all of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Failure {
    /// Nobody could be reached there.
    #[error("{0}")]
    Connect(String),
    /// TLS with it failed.
    #[error("{0}")]
    Tls(String),
    /// It closed before its answer's head was whole, or the head is none.
    #[error("{0}")]
    Reset(String),
    /// Its answer's body broke off.
    #[error("{0}")]
    Truncated(String),
    /// The tunnel to it has ended, or there is none.
    #[error("{0}")]
    TunnelLost(String),
    /// It cannot be asked this: its client does not offer it, or lets no such answer pass; or it is too
    /// long for it. The request's doing, and no fault of the backend's.
    #[error("{0}")]
    Unaskable(String),
    /// As much is under way there as may be.
    #[error("{0}")]
    Busy(String),
    /// Time was up.
    #[error("{0}")]
    Deadline(String),
}

impl Failure {
    /// The word in metrics.
    pub(crate) fn as_str(&self) -> &'static str {
        match self {
            Self::Connect(_) => "connect",
            Self::Tls(_) => "tls",
            Self::Reset(_) => "reset",
            Self::Truncated(_) => "truncated",
            Self::TunnelLost(_) => "tunnel-lost",
            Self::Unaskable(_) => "unaskable",
            Self::Busy(_) => "busy",
            Self::Deadline(_) => "deadline",
        }
    }
}
