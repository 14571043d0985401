//! What whoever means harm may try, and what becomes of it.
//!
//! * [`smuggling`]: requests that two readers may take for different ones.
//! * [`answers`]: targets and clients whose answers are not what they seem.

mod house;

mod let_in;
mod certificates;

mod words;

mod floods;

mod guesses;

mod smuggling;
mod answers;
