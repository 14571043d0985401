//! Every path of Prometheus' HTTP API, and what may be done with it.

/// What kind of thing is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    /// A read of the API.
    Read,
    /// `/api/v1/read`.
    RemoteRead,
    /// `/federate`.
    Federate,
    /// `/api/v1/notifications/live`: server-sent events.
    Stream,
    /// Pages and what belongs to them.
    Ui,
    /// Remote write, OTLP.
    Write,
    /// `/api/v1/admin/…`.
    Admin,
    /// `/-/reload`, `/-/quit`.
    Lifecycle,
    /// `/debug/…`.
    Debug,
    /// None of Prometheus'.
    Unknown,
}

/// What may be done with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Class {
    pub(crate) kind: Kind,
    /// It may be sent to another backend when one has failed.
    pub(crate) retry: bool,
    /// It may be sent to two.
    pub(crate) hedge: bool,
    /// The beginning of its answer may be held back.
    pub(crate) hold: bool,
    /// It has an end.
    pub(crate) deadline: bool,
}
