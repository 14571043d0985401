//! Taking a request in.
