//! What crosses in the bodies of `/poll` and `/push`: HTTP messages as text, inside of HTTP.
//!
//! 1. [`request`] writes a scrape as the body of a poll's answer.
//! 2. [`answer`] reads the head of what is pushed: which scrape, what status, where its body ends.
//! 3. [`body`] takes that body out of the push, and knows a whole one from one cut short.
//! 4. [`fault`] reads what the client says when it has no answer of the target.
//!
//! Pure functions, so that the odd shapes are tested without a socket. What is odd comes from the
//! released clients, which are Go: `http.ReadRequest` reads what we write, `Response.Write` writes
//! what we read.

pub(crate) mod request;

pub(crate) mod answer;
pub(crate) mod body;

pub(crate) mod fault;
