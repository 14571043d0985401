//! Each fault does what it says: in memory with a paused clock where that is possible.

mod pipes;
mod sockets;
