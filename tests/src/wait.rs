//! Waiting, always with an end.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

/// How long anything may take that is not itself what a test measures. Generous: two cores build
/// and test at once somewhere.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// How often a condition without an event is looked at.
const PAUSE: Duration = Duration::from_millis(20);

/// Asks again until the answer is `Ok`, and gives what is in it. Only for what has no event to wait
/// for, such as a page of another program.
///
/// # Panics
/// At the deadline, with `what` and the last `Err`.
pub async fn eventually<T>(
    deadline: Duration,
    what: &str,
    mut probe: impl AsyncFnMut() -> Result<T, String>,
) -> T {
    let end = Instant::now() + deadline;
    loop {
        let last = match probe().await {
            Ok(value) => return value,
            Err(last) => last,
        };
        assert!(
            Instant::now() < end,
            "not within {deadline:?}: {what}; last: {last}"
        );
        sleep(PAUSE).await;
    }
}

/// The future's output.
///
/// # Panics
/// At the deadline, with `what`.
pub async fn within<F: Future>(deadline: Duration, what: &str, future: F) -> F::Output {
    match timeout(deadline, future).await {
        Ok(output) => output,
        Err(_) => panic!("not within {deadline:?}: {what}"),
    }
}
