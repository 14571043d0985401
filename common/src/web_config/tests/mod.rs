//! Every key and every error; who is let in by which certificate; files that change.

mod changes;
mod handshakes;
mod keys;
mod wrong;
