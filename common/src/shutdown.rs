//! What a running program is told from outside: to stop, in which order, and to read its
//! configuration again. The first SIGINT or SIGTERM drains, the second ends at once; SIGHUP reloads.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

/// What whoever runs a program may tell it. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Orders {
    /// Cancelled: stop, in good order.
    pub shutdown: CancellationToken,
    /// Notified: read the configuration again. One that comes while another is obeyed is not lost.
    pub reload: Arc<Notify>,
}

/// The stages of stopping, and who is waited for. Clones are the same.
///
/// While a program drains, its *work* finishes: what somebody outside waits for. What only carries
/// work, such as a tunnel, is kept as long as there is some, and told to go afterwards.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    draining: CancellationToken,
    done: CancellationToken,
    now: CancellationToken,
    work: TaskTracker,
    tasks: TaskTracker,
}

impl Stop {
    /// Cancelled when nothing new shall be begun; what is under way finishes.
    pub fn draining(&self) -> &CancellationToken {
        &self.draining
    }

    /// Cancelled when all work has finished: what carried it may go.
    pub fn done(&self) -> &CancellationToken {
        &self.done
    }

    /// Cancelled when the grace is over.
    pub fn now(&self) -> &CancellationToken {
        &self.now
    }

    /// Ends everything when it is dropped: for whoever owns the program's main future.
    pub fn end_on_drop(&self) -> DropGuard {
        self.now.clone().drop_guard()
    }

    /// Spawns work: it may go on while we drain, and is dropped when the grace is over.
    pub fn spawn_work<F>(&self, future: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.spawn_until(&self.work, self.now.clone(), future);
    }

    /// Spawns what carries work: it is waited for like work, but told by [`Stop::done`] to end.
    pub fn spawn<F>(&self, future: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.spawn_until(&self.tasks, self.now.clone(), future);
    }

    /// Spawns what is dropped as soon as we drain.
    pub fn spawn_until_draining<F>(&self, future: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.spawn_until(&self.tasks, self.draining.clone(), future);
    }

    fn spawn_until<F>(&self, tracker: &TaskTracker, token: CancellationToken, future: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let now = self.now.clone();
        tracker.spawn(async move {
            tokio::select! {
                () = future => {}
                () = token.cancelled() => {}
                // Without draining, when the program's future was dropped.
                () = now.cancelled() => {}
            }
        });
    }

    /// Drains: waits for the work, then for what carried it, for at most `grace` in all, then ends
    /// what is left.
    pub async fn drain(&self, grace: Duration) {
        tracing::info!(?grace, "draining");
        let end = Instant::now() + grace;
        self.draining.cancel();
        self.work.close();
        self.tasks.close();
        let worked = timeout_at(end, self.work.wait()).await;
        self.done.cancel();
        let ended = timeout_at(end, self.tasks.wait()).await;
        if worked.is_err() || ended.is_err() {
            let left = self.work.len() + self.tasks.len();
            tracing::warn!(left, "grace is over, closing what is left");
            self.now.cancel();
            self.work.wait().await;
            self.tasks.wait().await;
        }
        tracing::info!("stopped");
    }
}

/// SIGINT, SIGTERM and SIGHUP.
#[derive(Debug)]
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

/// One of them that came.
enum Came {
    Stop(&'static str),
    Reload,
}

impl Signals {
    /// Takes them over from now on.
    ///
    /// # Errors
    /// When the runtime cannot register for them.
    pub fn register() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Polls a program until it ends, and makes orders of signals. At the second that says to stop
    /// the program is dropped, and `None` returned.
    pub async fn drive<F: Future>(mut self, program: F, orders: &Orders) -> Option<F::Output> {
        tokio::pin!(program);
        loop {
            tokio::select! {
                output = &mut program => return Some(output),
                came = self.next() => match came {
                    Came::Reload => orders.reload.notify_one(),
                    Came::Stop(signal) if orders.shutdown.is_cancelled() => {
                        tracing::warn!(signal, "second signal, ending at once");
                        return None;
                    }
                    Came::Stop(signal) => {
                        tracing::info!(signal, "stopping");
                        orders.shutdown.cancel();
                    }
                }
            }
        }
    }

    async fn next(&mut self) -> Came {
        tokio::select! {
            _ = self.interrupt.recv() => Came::Stop("SIGINT"),
            _ = self.terminate.recv() => Came::Stop("SIGTERM"),
            _ = self.hangup.recv() => Came::Reload,
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

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
    async fn what_carries_work_is_told_to_go_when_the_work_is_done() {
        let stop = Stop::default();
        stop.spawn_work(sleep(Duration::from_secs(5)));
        let done = stop.done().clone();
        stop.spawn(async move { done.cancelled().await });
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
        stop.spawn_work(std::future::pending());
        stop.spawn_until_draining(std::future::pending());
        drop(stop.end_on_drop());
        for tracker in [&stop.work, &stop.tasks] {
            tracker.close();
            tracker.wait().await;
        }
    }
}
