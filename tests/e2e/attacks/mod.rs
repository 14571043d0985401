//! What whoever means harm may try, and what becomes of it.
//!
//! * [`smuggling`]: requests that two readers may take for different ones.
//! * [`answers`]: targets and clients whose answers are not what they seem.

mod smuggling;
mod answers;
