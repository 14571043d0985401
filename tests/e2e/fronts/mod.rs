//! Behind the front proxies that people have, each set up by the file in `examples/`.

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

mod path_style;
