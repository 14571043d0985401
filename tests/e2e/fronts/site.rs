//! A proxy of ours behind a front, and clients that dial it through the front.

use std::fs;

use adit_tests::fronts::{CLIENT, Front, Kind, Setup};
use adit_tests::pair::{Client, Proxy};

/// What clients show to us, in a field that the front does not look at.
const TOKEN: &str = "a token of which nobody will ever think";

/// Dropping it ends all of it.
pub(super) struct Site {
    pub(super) proxy: Proxy,
    pub(super) front: Front,
}

impl Site {
    /// As the example has it.
    pub(super) async fn start(kind: Kind) -> Self {
        Self::set_up(kind, Setup::of(kind), &[]).await
    }

    /// With another setup, and more flags for us.
    pub(super) async fn set_up(kind: Kind, setup: Setup, flags: &[&str]) -> Self {
        // The front's own folder is not there before we listen.
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        write_secret(&file, TOKEN);
        let token = format!("--auth.token-file={}", file.display());
        let own = setup.flags();
        let mut all: Vec<&str> = own.iter().map(String::as_str).collect();
        all.push(&token);
        all.extend(flags);
        let proxy = Proxy::start(&all).await;
        let front = Front::start(kind, setup, proxy.address).await;
        for (name, secret) in [("token", TOKEN), ("password", CLIENT.password)] {
            write_secret(&front.folder().join(name), secret);
        }
        Self { proxy, front }
    }

    /// All that a client has to show, here and at the front.
    pub(super) fn credentials(&self) -> Vec<String> {
        let file = |name: &str| self.front.folder().join(name).display().to_string();
        vec![
            format!("--tls.ca-file={}", self.front.ca_file()),
            format!("--auth.token-file={}", file("token")),
            format!("--auth.username={}", CLIENT.name),
            format!("--auth.password-file={}", file("password")),
        ]
    }

    /// A client with more flags; returns when its session is accepted.
    pub(super) async fn client(&self, flags: &[&str]) -> Client {
        let credentials = self.credentials();
        let mut all: Vec<&str> = credentials.iter().map(String::as_str).collect();
        all.extend(flags);
        Client::start(&[&self.front.setup.url()], &all).await
    }
}

pub(super) fn write_secret(file: &std::path::Path, secret: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::write(file, secret).unwrap();
    fs::set_permissions(file, fs::Permissions::from_mode(0o600)).unwrap();
}
