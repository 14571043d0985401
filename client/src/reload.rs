//! Reading the file again: on SIGHUP, or when our own page is asked to. One reload at a time.
//!
//! Flags stay as typed. What the file says now is read as at start-up, certificates included; what
//! is wrong in it changes nothing. Then everything is applied at once: new scrapes see the new
//! targets, every open tunnel says a new registration, tunnels to proxies that are new are opened
//! and those to others closed.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::Client;
use crate::connect::Keepers;
use crate::settings::Settings;

/// For reading the file and the certificates: a pipe may never say anything.
const READ_TIME: Duration = Duration::from_secs(30);
/// For a reload that waits for others, and for its own.
const ANSWER_TIME: Duration = Duration::from_secs(120);
/// That wait; more wait to wait.
pub(crate) const QUEUE: usize = 4;

/// What became of a reload, in words; or why nothing did.
pub(crate) type Outcome = Result<&'static str, String>;
/// Somebody who wants a reload, and to know.
pub(crate) type Asked = oneshot::Sender<Outcome>;

/// Reloads whenever it is told to, for as long as it is polled.
pub(crate) async fn obey(
    client: Arc<Client>,
    keepers: Keepers,
    hangup: Arc<Notify>,
    mut asked: mpsc::Receiver<Asked>,
) {
    loop {
        let answer_to = tokio::select! {
            () = hangup.notified() => None,
            // The client holds a sender.
            Some(asked) = asked.recv() => Some(asked),
        };
        let outcome = reload(&client, &keepers).await;
        if let Some(answer_to) = answer_to {
            // Whoever asked may have left.
            let _ = answer_to.send(outcome);
        }
    }
}

/// Asks for a reload and waits for its outcome.
pub(crate) async fn ask(client: &Client) -> Outcome {
    let asking = async {
        let (asked, outcome) = oneshot::channel();
        client.reloads.send(asked).await.ok()?;
        outcome.await.ok()
    };
    match timeout(ANSWER_TIME, asking).await {
        Ok(Some(outcome)) => outcome,
        Ok(None) => Err("the client is stopping".to_owned()),
        Err(_) => Err(format!("not done within {ANSWER_TIME:?}")),
    }
}

async fn reload(client: &Arc<Client>, keepers: &Keepers) -> Outcome {
    let outcome = match client.source.has_file() {
        true => read(client).await.map(|settings| {
            apply(client, keepers, settings);
            "the configuration was read again"
        }),
        false => {
            let words = "nothing to read again: there is no --config.file";
            tracing::info!("{words}");
            Ok(words)
        }
    };
    if let Err(error) = &outcome {
        tracing::error!(err = %error, "configuration not reloaded, the one before stays");
    }
    client.metrics.reloaded(outcome.is_ok());
    outcome
}

async fn read(client: &Client) -> Result<Settings, String> {
    let (source, before) = (client.source.clone(), client.settings());
    let reading = spawn_blocking(move || {
        let config = source.read().map_err(|error| error.to_string())?;
        Settings::new(&config, Some(&before)).map_err(|error| error.to_string())
    });
    match timeout(READ_TIME, reading).await {
        Ok(read) => read.unwrap_or_else(|error| Err(error.to_string())),
        Err(_) => Err(format!("--config.file: not read within {READ_TIME:?}")),
    }
}

fn apply(client: &Arc<Client>, keepers: &Keepers, settings: Settings) {
    let before = client.settings.send_replace(Arc::new(settings));
    let now = client.settings();
    now.offer.take_over(&before.offer);
    keepers.follow(client);
    tracing::info!(
        targets = now.offer.targets(),
        offer_changed = now.offer.line() != before.offer.line(),
        "configuration reloaded"
    );
}
