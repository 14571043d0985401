//! A listening Unix socket and the file it is known by.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use socket2::{Domain, SockAddr, Type};
use tokio::net::{UnixListener, UnixStream};

/// Owner and group: a web server in front is given access by its group.
const MODE: u32 = 0o660;

/// The file of a listening socket, removed on drop, unless another has taken its path meanwhile.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl SocketFile {
    fn at(path: &Path) -> io::Result<Self> {
        let found = fs::symlink_metadata(path)?;
        Ok(Self {
            path: path.to_owned(),
            device: found.dev(),
            inode: found.ino(),
        })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let ours = fs::symlink_metadata(&self.path)
            .is_ok_and(|found| found.dev() == self.device && found.ino() == self.inode);
        if ours && let Err(error) = fs::remove_file(&self.path) {
            tracing::debug!(path = %self.path.display(), %error, "socket file left behind");
        }
    }
}

/// Listens at `path`, in the place of a socket file on which nobody answers any more.
pub(super) async fn open(path: &Path, backlog: i32) -> io::Result<(UnixListener, SocketFile)> {
    match open_new(path, backlog) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            remove_stale(path).await?;
            open_new(path, backlog)
        }
        done => done,
    }
}

fn open_new(path: &Path, backlog: i32) -> io::Result<(UnixListener, SocketFile)> {
    let socket = socket2::Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&SockAddr::unix(path)?)?;
    let file = SocketFile::at(path)?;
    // Before `listen`: until then nobody can connect, so there is no moment with the umask's mode.
    fs::set_permissions(path, Permissions::from_mode(MODE))?;
    socket.listen(backlog)?;
    socket.set_nonblocking(true)?;
    Ok((UnixListener::from_std(socket.into())?, file))
}

async fn remove_stale(path: &Path) -> io::Result<()> {
    let refuse = |reason| Err(io::Error::new(io::ErrorKind::AddrInUse, reason));
    if !fs::symlink_metadata(path)?.file_type().is_socket() {
        return refuse("a file that is no socket is in the way; remove it or choose another path");
    }
    match UnixStream::connect(path).await {
        // WouldBlock is a full queue: somebody owns it.
        Ok(_) => refuse(IN_USE),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => refuse(IN_USE),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(error) => Err(error),
    }
}

const IN_USE: &str = "already in use; stop what listens there or choose another path";

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;
    use std::os::unix::net::UnixListener as StdUnixListener;
    use std::time::Duration;

    use tokio::net::UnixStream;
    use tokio::time::timeout;

    use super::open;

    const LIMIT: Duration = Duration::from_secs(10);

    #[tokio::test]
    async fn the_file_is_for_owner_and_group_and_goes_with_the_listener() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("s");
        let listener = open(&path, 8).await.expect("bound");
        let mode = fs::metadata(&path).expect("the file").permissions().mode();
        assert_eq!(mode & 0o7777, 0o660);
        drop(listener);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_file_nobody_answers_on_is_replaced() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("s");
        drop(StdUnixListener::bind(&path).expect("bound"));
        assert!(path.exists(), "std leaves the file: that is the stale one");
        let (listener, _file) = open(&path, 8).await.expect("replaced");
        let (dialled, accepted) = timeout(LIMIT, async {
            tokio::join!(UnixStream::connect(&path), listener.accept())
        })
        .await
        .expect("in time");
        dialled.expect("connected");
        accepted.expect("accepted");
    }

    #[tokio::test]
    async fn a_live_socket_and_a_plain_file_are_left_alone() {
        let dir = tempfile::tempdir().expect("a directory");
        let live = dir.path().join("live");
        let _kept = open(&live, 8).await.expect("bound");
        let error = open(&live, 8).await.expect_err("taken");
        assert!(error.to_string().contains("already in use"), "{error}");
        UnixStream::connect(&live).await.expect("still answers");

        let plain = dir.path().join("plain");
        fs::write(&plain, "precious").expect("written");
        let error = open(&plain, 8).await.expect_err("no socket");
        assert!(error.to_string().contains("no socket"), "{error}");
        assert_eq!(fs::read(&plain).expect("still there"), b"precious");
    }

    #[tokio::test]
    async fn a_successors_file_survives_the_drop_of_the_old_one() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("s");
        let old = open(&path, 8).await.expect("bound");
        // Kept under another name so that the file system cannot hand its inode out again.
        fs::rename(&path, dir.path().join("moved")).expect("moved");
        let _new = open(&path, 8).await.expect("bound anew");
        drop(old);
        UnixStream::connect(&path)
            .await
            .expect("the new one answers");
    }
}
