//! Finding out how backends are.
