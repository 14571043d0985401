//! The loop and the probe against a server over real sockets that says what the test wants.

mod lab;

mod facts;
mod probes;
mod pages;
