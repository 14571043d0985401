//! The backends among which one is chosen.
