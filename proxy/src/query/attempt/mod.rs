//! Asking one backend after the other until one has answered.
