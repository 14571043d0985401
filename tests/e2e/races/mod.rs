//! The races a scrape proxy can lose, each as a test of its own, named by its row:
//!
//! | row | what happens |
//! |---|---|
//! | R1 | a client disconnects while it is idle |
//! | R2 | a client dies after it was handed a scrape |
//! | R3 | the scraper leaves while its scrape waits for a client |
//! | R4 | the scraper leaves after its scrape was handed out |
//! | R5 | two clients have one name |
//! | R6 | a client is listed that is gone, or one that is here is not |
//! | R7 | the proxy stops |
//! | R8 | a name that nobody has is scraped |
//! | R9 | clients come and never return |
//! | R10 | an answer comes that belongs to nobody, or to another |
//! | R11 | an answer comes before anybody waits for it |
//! | R12 | an answer comes while the deadline passes |
//! | R13 | several scrapes of one client at once |
//! | R14 | an answer is cut short |
//! | R15 | many polls of one name at once |
//!
//! [`sessions`] are clients of ours; [`polls`] are PushProx's.

mod sessions;
