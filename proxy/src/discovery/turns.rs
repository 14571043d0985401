//! When a source is looked at again, and what must not be done on the runtime.

use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};

use super::Report;

/// However short the configuration has it.
const LEAST: Duration = Duration::from_millis(100);
/// A look at files that takes longer is told as a failure; it cannot be ended.
const PATIENCE: Duration = Duration::from_secs(10);

/// Waits for the next look: up to the share `spread` sooner or later, so that many proxies that were
/// started together do not ask together for ever.
pub(super) async fn next(refresh: Duration, spread: f64) {
    sleep(pause(refresh, spread, fastrand::f64())).await;
}

fn pause(refresh: Duration, spread: f64, chance: f64) -> Duration {
    let factor = (1.0 - spread) + 2.0 * spread * chance;
    // No product of a refresh that somebody has written overflows, but one of Duration::MAX would panic.
    let pause = Duration::try_from_secs_f64(refresh.as_secs_f64() * factor);
    pause.unwrap_or(refresh).max(LEAST)
}

/// Does what may block elsewhere. As long as it is not done that is reported as a failure now and then,
/// and nothing new is begun: a file system that hangs holds one thread of ours.
///
/// # Errors
/// It panicked: our own mistake, but only one look lost.
pub(super) async fn blocking<T: Send + 'static>(
    report: &Report,
    job: impl FnOnce() -> T + Send + 'static,
) -> Result<T, String> {
    let mut job = spawn_blocking(job);
    loop {
        match timeout(PATIENCE, &mut job).await {
            Ok(done) => return done.map_err(|_| "the look at it was broken off".to_owned()),
            Err(_) => {
                let why = format!("no answer from the file system within {PATIENCE:?}");
                report.failed(why).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_are_about_as_long_as_written_and_never_none() {
        let ms = Duration::from_millis;
        assert_eq!(pause(ms(250), 0.0, 0.9), ms(250));
        assert_eq!(pause(ms(1000), 0.1, 0.0), ms(900));
        assert!(pause(ms(1000), 0.1, 0.999) <= ms(1100));
        assert_eq!(pause(Duration::ZERO, 0.1, 0.5), LEAST);
        assert_eq!(pause(Duration::MAX, 0.1, 0.999), Duration::MAX);
    }

    #[tokio::test(start_paused = true)]
    async fn a_look_that_hangs_is_told_and_waited_for() {
        let (report, mut heard) = Report::for_tests();
        let (end, ended) = std::sync::mpsc::channel();
        let job = blocking(&report, move || ended.recv());
        let hear = async {
            // The clock goes on by itself only when nothing blocks.
            for _ in 0..2 {
                tokio::time::advance(PATIENCE).await;
                let (_, word) = heard.recv().await.unwrap();
                assert!(word.unwrap_err().contains("file system"));
            }
            end.send(7).unwrap();
        };
        let (done, ()) = tokio::join!(job, hear);
        assert_eq!(done, Ok(Ok(7)));
    }

    #[tokio::test]
    async fn a_look_that_panics_is_a_failure() {
        let (report, _heard) = Report::for_tests();
        let job: fn() = || panic!("as the test wants it");
        let done = blocking(&report, job).await;
        assert!(done.unwrap_err().contains("broken off"));
    }
}
