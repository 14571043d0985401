//! PushProx' way: a client asks for work with one request, and pushes the answer with another.
//!
//! [`wire`] is what stands in the two bodies.

pub(crate) mod wire;
