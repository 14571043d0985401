//! Free ports, for those who cannot be told to take any.

use std::net::{Ipv4Addr, Ipv6Addr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};

/// Below the ports the kernel gives to whoever asks for port 0 (32768 and up), so that no other
/// test is given one of these between our looking and the program's binding.
const FIRST: u16 = 20_000;
const COUNT: u16 = 12_000;
/// About the golden section of [`COUNT`].
const SPREAD: u32 = 7_417;

static NEXT: AtomicU16 = AtomicU16::new(0);

/// A port that is free on 127.0.0.1 and is not given to anyone else in this process. Another
/// process may still take it: whoever uses this tries again on failure.
///
/// # Panics
/// When none is free.
pub fn unused() -> u16 {
    // Two runs at once start far apart, although their ids are neighbours.
    let start = std::process::id().wrapping_mul(SPREAD) % u32::from(COUNT);
    for _ in 0..COUNT {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let offset = (start + u32::from(step)) % u32::from(COUNT);
        let port = FIRST + u16::try_from(offset).unwrap_or(0);
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
    panic!("no free port from {FIRST} on");
}

/// A listener on 127.0.0.1 whose port nobody in this process is given when it is closed: who comes
/// back to it finds it free, and who asks there meanwhile finds nobody.
///
/// # Panics
/// When no port is free.
pub fn listener() -> TcpListener {
    (0..64)
        .find_map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, unused())).ok())
        .expect("a free port")
}

/// Listeners on 127.0.0.1 and on ::1 with the same port.
///
/// # Panics
/// When no port is free on both.
pub fn both_loopbacks() -> (TcpListener, TcpListener) {
    for _ in 0..64 {
        let v4 = TcpListener::bind((Ipv4Addr::LOCALHOST, unused()));
        let Ok(v4) = v4 else { continue };
        let port = v4
            .local_addr()
            .expect("a bound listener has an address")
            .port();
        if let Ok(v6) = TcpListener::bind((Ipv6Addr::LOCALHOST, port)) {
            return (v4, v6);
        }
    }
    panic!("no port is free on both loopbacks");
}
