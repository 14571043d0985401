//! What whoever means harm may try, and what becomes of it.
//!
//! * [`let_in`]: who is let in to what, row by row, each counted once; [`certificates`] the same of TLS.
//!   [`house`] is the two programs with their secrets, which are then looked for in every line, page
//!   and argument.
//! * [`words`]: names, labels and fields that would be more than words to a log, a page or a terminal,
//!   and those of a megabyte.
//! * [`floods`]: ten thousand who hold on to what they have half opened; [`guesses`]: passwords and
//!   tokens as fast as they go. Both while somebody scrapes.
//! * [`smuggling`]: requests that two readers may take for different ones; [`answers`]: targets and
//!   clients whose answers are not what they seem.

mod house;

mod let_in;
mod certificates;

mod words;

mod floods;
mod guesses;

mod smuggling;
mod answers;
