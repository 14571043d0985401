//! Who stays with whom.
