//! What a process has open: for the moment when that is too much.

use std::collections::BTreeMap;

/// A line for each open file of a process; for a TCP socket its two ends and its state, as
/// `/proc/net/tcp` has them.
pub(super) fn open(process: u32) -> String {
    let sockets = sockets(&std::fs::read_to_string("/proc/net/tcp").unwrap_or_default());
    let Ok(files) = std::fs::read_dir(format!("/proc/{process}/fd")) else {
        return format!("    process {process} is gone\n");
    };
    let mut lines = String::new();
    for file in files.filter_map(Result::ok) {
        let link = std::fs::read_link(file.path()).unwrap_or_default();
        let link = link.to_string_lossy().into_owned();
        let socket = link.strip_prefix("socket:[");
        let inode = socket.and_then(|rest| rest.strip_suffix(']'));
        let ends = inode.and_then(|inode| sockets.get(inode));
        let number = file.file_name();
        let what = ends.map_or(&link, |ends| ends);
        lines.push_str(&format!("    {} {what}\n", number.to_string_lossy()));
    }
    lines
}

/// The two ends of every socket, by its inode.
fn sockets(table: &str) -> BTreeMap<String, String> {
    let socket = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (near, far) = (port(words.get(1)?)?, port(words.get(2)?)?);
        let state = match *words.get(3)? {
            "01" => "established",
            "08" => "closed by the peer",
            "0A" => "listening",
            other => other,
        };
        let inode = words.get(9)?;
        Some(((*inode).to_owned(), format!("tcp {near} to {far}, {state}")))
    };
    table.lines().skip(1).filter_map(socket).collect()
}

/// Of an address as `0100007F:1F90`.
fn port(address: &str) -> Option<u16> {
    let (_, port) = address.split_once(':')?;
    u16::from_str_radix(port, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_listener_is_found() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let line = format!("tcp {port} to 0, listening");
        let open = open(std::process::id());
        assert!(open.contains(&line), "{line:?}: {open}");
    }
}
