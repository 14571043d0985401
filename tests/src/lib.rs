//! What the end-to-end tests are made of: real peers, and scripted ones that misbehave to order.
//!
//! * [`pair`] runs proxies and clients in the test's own process, [`binaries`] the real programs.
//! * [`prometheus`], [`node_exporter`] and the [`http_proxy`] of a company are Debian's, each a
//!   [`program`] that a test owns.
//! * [`target`] is what is scraped: it says exactly the bytes it is told to, and remembers the
//!   bytes it was sent. [`fake_prometheus`] is what is queried.
//! * [`scraper`] is who scrapes: it writes the bytes it is given, and knows a whole answer from one
//!   that was cut short.
//! * [`tunnel`] is a client that speaks the tunnel's protocol and lies, [`hostile`] one that lies in
//!   frames of its own, [`pushprox`] one of
//!   PushProx's, [`fake_proxy`] a proxy that dies of it, [`scripted_proxy`] one that asks in it what it
//!   is told; [`network`] is what lies between two ends, with its faults; [`tls`] is a CA of our own,
//!   and a TLS front before a proxy.
//! * [`dnsmasq`] is a DNS server with a zone of the test's own, to find backends in.
//! * [`fake_clusters`] are a Kubernetes API server and a Marathon, in which backends are found.
//! * [`fronts`] are Debian's nginx, Caddy, HAProxy and Apache, set up by our examples.
//! * [`metrics`] is what a program says of itself, as numbers; [`log`] its lines, read strictly;
//!   [`marked`] are secrets that must be found in neither.
//! * [`soak`] is a run of hours in which everything goes wrong by chance; no test of it is among the
//!   others.
//! * [`wait`] is the one place that polls and the one that sets deadlines; [`turn`] keeps tests
//!   that measure from running beside one another; [`ports`] finds free ones, [`room`] makes room for
//!   many sockets, [`namespace`] a network that is a test's alone.
//!
//! Everything is on the loopback, and everything a test started ends with it.

pub mod pair;
pub mod binaries;

pub mod prometheus;
pub mod node_exporter;
pub mod http_proxy;
pub mod program;
pub mod fronts;

pub mod target;
pub mod fake_prometheus;
pub mod scraper;

pub mod tunnel;
pub mod hostile;
pub mod pushprox;
pub mod fake_proxy;
pub mod scripted_proxy;
pub mod dnsmasq;
pub mod fake_clusters;
pub mod network;
pub mod tls;

pub mod metrics;
pub mod log;
pub mod marked;

pub mod soak;

pub mod wait;
pub mod turn;
pub mod ports;
pub mod room;
pub mod namespace;
