//! Behind the front proxies that people have, each set up by the file in `examples/`: TLS and
//! passwords there, a path prefix, our token behind them.
//!
//! [`site`] is what stands behind one. [`path_style`] is what every front passes, [`proxy_url`] what
//! some do, and [`mangled`] what the others make of it; [`silence`] and [`reloads`] are what tunnels
//! have to outlive.

/// The same test for every front that speaks HTTP: `async fn name(kind: Kind)`.
macro_rules! behind_each_front {
    ($($test:ident),* $(,)?) => {$(
        mod $test {
            use adit_tests::fronts::Kind;

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn nginx() {
                super::$test(Kind::Nginx).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn caddy() {
                super::$test(Kind::Caddy).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn haproxy() {
                super::$test(Kind::Haproxy).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn apache() {
                super::$test(Kind::Apache).await;
            }
        }
    )*};
}
use behind_each_front;

/// And for those that pass bytes.
macro_rules! behind_each_front_of_bytes {
    ($($test:ident),* $(,)?) => {$(
        mod bytes {
            use adit_tests::fronts::Kind;

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn nginx() {
                super::$test(Kind::NginxStream).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn haproxy() {
                super::$test(Kind::HaproxyTcp).await;
            }
        }
    )*};
}
use behind_each_front_of_bytes;

mod site;

mod path_style;
mod proxy_url;
mod mangled;

mod silence;
mod reloads;
