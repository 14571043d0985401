//! Backends over real sockets whose every byte the test says, and over sessions in a pipe.

mod lab;

mod answers;
mod cancelled;
mod failures;
mod kept;
mod secure;
mod tunnels;
