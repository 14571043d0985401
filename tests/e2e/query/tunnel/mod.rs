//! A Prometheus behind a client's tunnel is a backend like any other.
//!
//! [`passes`] is what goes through, [`lost`] what happens when the tunnel does, [`offered`] how backends
//! are found among what clients offer. [`alone`] is one that nobody can stand in for.

mod alone;
mod lost;
mod offered;
mod passes;

use adit_tests::fake_prometheus::FakePrometheus;
use adit_tests::pair::Client;

use super::asking::Side;

/// A fake behind a client of `side`, as the target `prom:9090`.
async fn behind(side: &Side, fake: &FakePrometheus) -> Client {
    let target = format!("--target=prom:9090=http://{}", fake.address());
    side.client(&[&target]).await
}
