//! The network to one address, over real sockets.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::lane::{Flow, Lane, State};
use super::link::{Cut, Ended, Link, Plan, link};
use super::{BOTH, Way};
use crate::wait::{PATIENCE, within};

/// Connections that wait to be accepted at most.
const BACKLOG: u32 = 1024;

/// Makes a link to one address of every connection. Dropping it ends all of them at once.
#[derive(Debug)]
pub struct Relay {
    /// Where it listens.
    pub address: SocketAddr,
    net: watch::Sender<Net>,
    _tasks: JoinSet<()>,
}

/// A relay before it listens.
#[derive(Debug, Clone, Copy)]
pub struct Builder {
    to: SocketAddr,
    plan: Plan,
    socket_buffers: Option<u32>,
}

/// Whether a relay lets connections in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Door {
    Open,
    /// Accepts, and closes at once.
    Refusing,
    /// Nobody listens.
    Away,
}

/// All of a relay that is seen from outside.
#[derive(Debug)]
struct Net {
    plan: Plan,
    /// How the ways of new links begin.
    flows: [Flow; 2],
    wanted: Door,
    /// As the accepting task has it.
    door: Door,
    links: Vec<Link>,
    refused: usize,
}

impl Builder {
    /// With this both ways.
    pub fn each_way(self, lane: Lane) -> Self {
        self.lane(Way::Up, lane).lane(Way::Down, lane)
    }

    /// With this one way.
    pub fn lane(mut self, way: Way, lane: Lane) -> Self {
        match way {
            Way::Up => self.plan.up = lane,
            Way::Down => self.plan.down = lane,
        }
        self
    }

    /// Cuts what was idle both ways for so long.
    pub fn idle_cut(mut self, after: Duration, how: Cut) -> Self {
        self.plan.idle = Some((after, how));
        self
    }

    /// The relay's sockets buffer so many bytes each way, and not the megabytes that the kernel
    /// gives: whoever writes to a way that stalls is blocked sooner. The kernel doubles the number.
    pub fn socket_buffers(mut self, bytes: u32) -> Self {
        self.socket_buffers = Some(bytes);
        self
    }

    /// Listens on a free port of 127.0.0.1.
    ///
    /// # Panics
    /// When there is none.
    pub async fn start(self) -> Relay {
        let socket = self.socket().expect("a socket");
        socket.set_reuseport(true).expect("an option");
        let free = SocketAddr::from(([127, 0, 0, 1], 0));
        socket.bind(free).expect("a free port");
        let address = socket.local_addr().expect("bound");
        let net = watch::Sender::new(Net {
            plan: self.plan,
            flows: [Flow::Passing; 2],
            wanted: Door::Open,
            door: Door::Away,
            links: Vec::new(),
            refused: 0,
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(keep_door(self, socket, address, net.clone()));
        let relay = Relay {
            address,
            net,
            _tasks: tasks,
        };
        relay.set_door(Door::Open).await;
        relay
    }

    fn socket(&self) -> io::Result<TcpSocket> {
        let socket = TcpSocket::new_v4()?;
        if let Some(bytes) = self.socket_buffers {
            socket.set_recv_buffer_size(bytes)?;
            socket.set_send_buffer_size(bytes)?;
        }
        Ok(socket)
    }
}

impl Relay {
    /// Without a fault, so far.
    ///
    /// # Panics
    /// When there is no free port.
    pub async fn start(to: SocketAddr) -> Self {
        Self::to(to).start().await
    }

    /// To be told its faults.
    pub fn to(to: SocketAddr) -> Builder {
        Builder {
            to,
            plan: Plan::default(),
            socket_buffers: None,
        }
    }

    /// As a URL of a server that is reached through it.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Changes what these ways do, of every link that is and will be.
    pub fn change(&self, ways: &[Way], change: impl Fn(&mut Lane)) {
        self.net.send_modify(|net| {
            for way in ways {
                change(match way {
                    Way::Up => &mut net.plan.up,
                    Way::Down => &mut net.plan.down,
                });
            }
            for link in &net.links {
                link.change(ways, &change);
            }
        });
    }

    /// Stalls these ways, of every link that is and will be.
    pub fn stall(&self, ways: &[Way]) {
        self.flow(ways, Flow::Stalled);
    }

    /// Lets these ways go on where they had stalled. Links to come pass again; one that has
    /// swallowed something stays dead.
    pub fn resume(&self, ways: &[Way]) {
        self.flow(ways, Flow::Passing);
    }

    /// Swallows these ways, of every link that is and will be.
    pub fn swallow(&self, ways: &[Way]) {
        self.flow(ways, Flow::Swallowing);
    }

    fn flow(&self, ways: &[Way], flow: Flow) {
        self.net.send_modify(|net| {
            for way in ways {
                net.flows[way.index()] = flow;
            }
            for link in &net.links {
                link.each(ways, |state| state.turn(flow));
            }
        });
    }

    /// Cuts every link that is.
    pub fn cut(&self, how: Cut) {
        self.links().iter().for_each(|link| link.cut(how));
    }

    /// Accepts whoever comes from now on, and closes at once. Links that are stay.
    ///
    /// # Panics
    /// When its task does not follow.
    pub async fn refuse(&self) {
        self.set_door(Door::Refusing).await;
    }

    /// Does not listen any more; the port stays its own. Links that are stay.
    ///
    /// # Panics
    /// When its task does not follow.
    pub async fn go_away(&self) {
        self.set_door(Door::Away).await;
    }

    /// Listens and accepts again.
    ///
    /// # Panics
    /// When its task does not follow.
    pub async fn come_back(&self) {
        self.set_door(Door::Open).await;
    }

    async fn set_door(&self, door: Door) {
        let mut net = self.net.subscribe();
        self.net.send_modify(|net| net.wanted = door);
        let set = net.wait_for(|net| net.door == door);
        let set = within(PATIENCE, "a relay's door", set).await;
        drop(set.expect("the relay holds the sender"));
    }

    /// Every link so far, in the order of their coming.
    pub fn links(&self) -> Vec<Link> {
        self.net.borrow().links.clone()
    }

    /// The link of that number, counting from 1, as soon as it is there.
    ///
    /// # Panics
    /// When it does not come.
    pub async fn link(&self, number: usize) -> Link {
        let mut net = self.net.subscribe();
        let come = net.wait_for(|net| net.links.len() >= number);
        let what = format!("link {number} of a relay");
        let net = within(PATIENCE, &what, come).await;
        net.expect("the relay holds the sender").links[number - 1].clone()
    }

    /// Connections accepted, and not refused.
    pub fn accepted(&self) -> usize {
        self.net.borrow().links.len()
    }

    /// Connections refused.
    pub fn refused(&self) -> usize {
        self.net.borrow().refused
    }

    /// Links that were cut for being idle.
    pub fn idle_cuts(&self) -> usize {
        let ended = |link: &&Link| link.ended() == Some(Ended::Idle);
        self.net.borrow().links.iter().filter(ended).count()
    }

    /// Bytes handed on that way, by all links.
    pub fn passed(&self, way: Way) -> u64 {
        self.net.borrow().links.iter().map(|l| l.passed(way)).sum()
    }
}

/// Opens and closes the door. `placeholder` keeps the port while nobody listens.
async fn keep_door(
    builder: Builder,
    placeholder: TcpSocket,
    address: SocketAddr,
    net: watch::Sender<Net>,
) {
    let _placeholder = placeholder;
    let mut wanted = net.subscribe();
    let mut listener = None;
    let mut open = JoinSet::new();
    loop {
        let door = wanted.borrow_and_update().wanted;
        match door {
            Door::Away => listener = None,
            Door::Open | Door::Refusing if listener.is_none() => {
                listener = Some(listen(&builder, address).expect("its own port"));
            }
            Door::Open | Door::Refusing => {}
        }
        net.send_if_modified(|net| std::mem::replace(&mut net.door, door) != door);
        tokio::select! {
            changed = wanted.wait_for(|net| net.wanted != door) => {
                changed.expect("a sender is here");
            }
            near = accept(listener.as_ref()) => match door {
                Door::Open => {
                    open.spawn(carry(builder, near, net.clone()));
                }
                Door::Refusing | Door::Away => net.send_modify(|net| net.refused += 1),
            },
            // Without it what has ended would be kept.
            Some(_) = open.join_next() => {}
        }
    }
}

fn listen(builder: &Builder, address: SocketAddr) -> io::Result<TcpListener> {
    let socket = builder.socket()?;
    socket.set_reuseport(true)?;
    // Connections of before may still be closing on the port.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

async fn accept(listener: Option<&TcpListener>) -> TcpStream {
    let Some(listener) = listener else {
        return std::future::pending().await;
    };
    loop {
        if let Ok((near, _)) = listener.accept().await {
            return near;
        }
    }
}

/// One connection from its beginning to its end.
async fn carry(builder: Builder, near: TcpStream, net: watch::Sender<Net>) {
    let far = async { builder.socket()?.connect(builder.to).await };
    let Ok(far) = far.await else { return };
    for side in [&near, &far] {
        // Fails only where the connection is gone already.
        let _ = side.set_nodelay(true);
    }
    let mut running = None;
    net.send_modify(|net| {
        let (link, future) = link(near, far, net.plan);
        for way in BOTH {
            link.each(&[*way], |state: &mut State| {
                state.turn(net.flows[way.index()]);
            });
        }
        net.links.push(link);
        running = Some(future);
    });
    if let Some(running) = running {
        running.await;
    }
}
