//! Where one source tells what it finds.

use tokio::sync::mpsc;

use super::Found;

/// What a source said: by its place among the sources.
pub(super) type News = (usize, Result<Vec<Found>, String>);

/// Reports that wait to be heard. Each is heard in microseconds; whoever finds no room waits.
const WAITING: usize = 16;

/// Where one source tells what it finds.
#[derive(Debug, Clone)]
pub(crate) struct Report {
    source: usize,
    news: mpsc::Sender<News>,
}

/// From sources to whoever hears them.
pub(super) fn channel() -> (mpsc::Sender<News>, mpsc::Receiver<News>) {
    mpsc::channel(WAITING)
}

impl Report {
    pub(super) fn new(source: usize, news: mpsc::Sender<News>) -> Self {
        Self { source, news }
    }

    /// This is all there is, as of now.
    pub(crate) async fn found(&self, found: Vec<Found>) {
        self.say(Ok(found)).await;
    }

    /// It could not be asked; what it said last may still be true.
    pub(crate) async fn failed(&self, why: String) {
        self.say(Err(why)).await;
    }

    /// One or the other.
    pub(crate) async fn say(&self, word: Result<Vec<Found>, String>) {
        // Nobody listens any more when the pool is gone, and then the source goes too.
        let _ = self.news.send((self.source, word)).await;
    }

    /// One of source 0, and what it is told.
    #[cfg(test)]
    pub(crate) fn for_tests() -> (Self, mpsc::Receiver<News>) {
        let (news, heard) = channel();
        (Self::new(0, news), heard)
    }
}
