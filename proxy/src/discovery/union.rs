//! What each source said last, and one list of all of it.

use tokio::sync::mpsc;

use super::Found;

/// Where one source tells what it finds.
#[derive(Debug, Clone)]
pub(crate) struct Report {
    source: usize,
    news: mpsc::Sender<(usize, Result<Vec<Found>, String>)>,
}

impl Report {
    #[cfg(test)]
    pub(super) fn new(
        source: usize,
        news: mpsc::Sender<(usize, Result<Vec<Found>, String>)>,
    ) -> Self {
        Self { source, news }
    }

    /// This is all there is, as of now.
    pub(crate) async fn found(&self, found: Vec<Found>) {
        // Nobody listens any more when the pool is gone, and then the source goes too.
        let _ = self.news.send((self.source, Ok(found))).await;
    }

    /// It could not be asked; what it said last may still be true.
    pub(crate) async fn failed(&self, why: String) {
        let _ = self.news.send((self.source, Err(why))).await;
    }
}
