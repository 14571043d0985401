//! What hyper spawns for a connection belongs to it and ends with it.

use std::future::Future;

use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

/// The tasks of one tunnel, as the executor that hyper is given.
///
/// hyper's HTTP/2 client drives its socket in a task of its own, which dropping the `Connection`
/// does not end. Here every such task ends at [`Tasks::end`], its socket with it, and
/// [`Tasks::ended`] waits for all of them.
#[derive(Debug, Clone, Default)]
pub struct Tasks {
    stop: CancellationToken,
    tracker: TaskTracker,
}

impl Tasks {
    /// Drops every task at its next await, and all that are still to come.
    pub fn end(&self) {
        self.stop.cancel();
    }

    /// Ends them when it is dropped: for an owner that may itself be dropped anywhere.
    pub fn end_on_drop(&self) -> DropGuard {
        self.stop.clone().drop_guard()
    }

    /// Waits until every task is gone. Only after [`Tasks::end`]: until then new ones may come.
    pub async fn ended(&self) {
        self.tracker.close();
        self.tracker.wait().await;
    }

    /// Spawns a task that ends with the tunnel.
    pub fn spawn<F>(&self, future: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let stop = self.stop.clone();
        self.tracker.spawn(async move {
            let _ = stop.run_until_cancelled_owned(future).await;
        });
    }
}

impl<F> hyper::rt::Executor<F> for Tasks
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, future: F) {
        self.spawn(async move {
            future.await;
        });
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, duplex};

    use super::*;

    #[tokio::test]
    async fn a_task_and_what_it_owns_end_with_the_tunnel() {
        let tasks = Tasks::default();
        let (owned, mut other) = duplex(8);
        tasks.spawn(async move {
            let _owned = owned;
            std::future::pending::<()>().await;
        });
        tasks.end();
        tasks.ended().await;
        assert_eq!(other.read(&mut [0]).await.unwrap(), 0);
    }
}
