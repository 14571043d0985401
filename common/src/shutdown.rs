//! When to stop, and in which order: the first signal drains, the second ends at once.

use std::future::Future;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

/// The two stages of stopping, and who is waited for. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    draining: CancellationToken,
    now: CancellationToken,
    tasks: TaskTracker,
}

impl Stop {
    /// Cancelled when nothing new shall be begun; what is under way finishes.
    pub fn draining(&self) -> &CancellationToken {
        &self.draining
    }

    /// Cancelled when the grace is over.
    pub fn now(&self) -> &CancellationToken {
        &self.now
    }

    /// Ends everything when it is dropped: for whoever owns the program's main future.
    pub fn end_on_drop(&self) -> DropGuard {
        self.now.clone().drop_guard()
    }

    /// Spawns what may go on while we drain, and is dropped when the grace is over.
    pub fn spawn<F>(&self, future: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.spawn_until(self.now.clone(), future);
    }

    /// Spawns what is dropped as soon as we drain.
    pub fn spawn_until_draining<F>(&self, future: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.spawn_until(self.draining.clone(), future);
    }

    fn spawn_until<F>(&self, token: CancellationToken, future: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let now = self.now.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                () = future => {}
                () = token.cancelled() => {}
                // Without draining, when the program's future was dropped.
                () = now.cancelled() => {}
            }
        });
    }

    /// Drains: waits for everything spawned, for at most `grace`, then ends what is left.
    pub async fn drain(&self, grace: Duration) {
        tracing::info!(?grace, "draining");
        self.draining.cancel();
        self.tasks.close();
        if timeout(grace, self.tasks.wait()).await.is_err() {
            tracing::warn!(
                left = self.tasks.len(),
                "grace is over, closing what is left"
            );
            self.now.cancel();
            self.tasks.wait().await;
        }
        tracing::info!("stopped");
    }
}

/// SIGINT and SIGTERM.
#[derive(Debug)]
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// Takes both signals over from now on.
    ///
    /// # Errors
    /// When the runtime cannot register for them.
    pub fn register() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Polls a program until it ends. The first signal cancels its `shutdown`; at the second the
    /// program is dropped, and `None` returned.
    pub async fn drive<F: Future>(
        mut self,
        program: F,
        shutdown: CancellationToken,
    ) -> Option<F::Output> {
        tokio::pin!(program);
        loop {
            tokio::select! {
                output = &mut program => return Some(output),
                signal = self.next() => {
                    if shutdown.is_cancelled() {
                        tracing::warn!(signal, "second signal, ending at once");
                        return None;
                    }
                    tracing::info!(signal, "stopping");
                    shutdown.cancel();
                }
            }
        }
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{Instant, sleep};

    use super::*;

    const GRACE: Duration = Duration::from_secs(30);

    #[tokio::test(start_paused = true)]
    async fn what_is_under_way_finishes_and_no_longer_is_waited_for() {
        let stop = Stop::default();
        stop.spawn(sleep(Duration::from_secs(5)));
        stop.spawn_until_draining(std::future::pending());
        let start = Instant::now();
        stop.drain(GRACE).await;
        assert_eq!(start.elapsed(), Duration::from_secs(5));
    }

    #[tokio::test(start_paused = true)]
    async fn after_the_grace_the_rest_is_ended() {
        let stop = Stop::default();
        stop.spawn(std::future::pending());
        let start = Instant::now();
        stop.drain(GRACE).await;
        assert_eq!(start.elapsed(), GRACE);
    }

    #[tokio::test(start_paused = true)]
    async fn dropping_the_program_ends_what_it_spawned() {
        let stop = Stop::default();
        stop.spawn(std::future::pending());
        stop.spawn_until_draining(std::future::pending());
        drop(stop.end_on_drop());
        stop.tasks.close();
        stop.tasks.wait().await;
    }
}
