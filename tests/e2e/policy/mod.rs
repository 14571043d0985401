//! A client trusts nobody: neither the proxy it dialled, nor who scrapes through it, nor a name.
//!
//! [`asked`] is what a target may be asked, and the credentials it is asked with; [`hostile`] is a
//! proxy that says what it likes in the tunnel; [`cost`] is how much it may take; [`names`] is where a
//! name may lead.

mod asked;
mod cost;
mod hostile;
mod names;

use adit_tests::pair::{self, Pair};
use adit_tests::target::Target;

/// A pair whose client offers `pi:9100`, which is `target`, with these keys. The folder holds what
/// the keys may name.
async fn pair_with(target: &Target, keys: &str) -> (Pair, tempfile::TempDir) {
    let (folder, flag) = pair::config(&offering(target, keys));
    std::fs::write(folder.path().join("token"), "t0ken\n").unwrap();
    std::fs::write(folder.path().join("password"), "s3cret\n").unwrap();
    (Pair::start(&[&flag]).await, folder)
}

fn offering(target: &Target, keys: &str) -> String {
    let address = target.address();
    format!("targets:\n- {{target: 'pi:9100', url: 'http://{address}', {keys}}}\n")
}
