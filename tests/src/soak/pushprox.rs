//! PushProx clients beside Adit's, each at one proxy.

/// How many there are.
pub(super) const POLLERS: usize = 0;
