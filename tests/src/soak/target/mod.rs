//! What is scraped: targets that say who they are in every byte, and have faults of their own.
//!
//! [`deed`] is what is done with a request, drawn by chance; [`play`] does it.
//!
//! The targets of the other tests keep a journal of everything and say what a test scripted. These
//! run for hours, and know one rule more: a body that ends with its connection is never cut by a
//! FIN, also where the whole target goes away in the middle of it. Nobody could tell.

mod deed;
mod play;

use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::body::{Label, Noise};
use super::chance::Chance;
use super::world::World;

use self::deed::Deed;
use self::play::{After, Request};

/// Seconds between two times that a target is away, on average.
const AWAY_EVERY: f64 = 120.0;

/// What a target is told about itself.
#[derive(Debug, Clone)]
pub(super) struct Manners {
    /// What it calls itself.
    pub(super) id: String,
    /// It never cuts a body that ends with its connection, by nothing: the released PushProx client
    /// passes such a body on as if it were whole.
    pub(super) for_pushprox: bool,
}

/// What the connections of a target share.
struct Target {
    world: Arc<World>,
    manners: Manners,
    chance: Mutex<Chance>,
    servings: AtomicU64,
    noise: Noise,
}

/// Serves on `listener`, goes away now and then, and comes back; for as long as it is polled.
pub(super) async fn keep(world: Arc<World>, manners: Manners, listener: TcpListener) {
    let mut chance = world.chance(&manners.id);
    let address = listener.local_addr().expect("a bound listener");
    let target = Target::new(world, manners);
    let world = &target.world;
    let mut listener = Some(listener);
    loop {
        let listening = match listener.take() {
            Some(listener) => listener,
            None => bind(address).await,
        };
        tokio::select! {
            () = serve(&target, listening) => {}
            // Not while everything settles: then it only serves.
            () = away(world, chance.until_next(AWAY_EVERY)) => {
                let time = chance.time(0.2..3.0);
                let what = format!("away for {time:?}");
                world.fault(&target.manners.id, "target away", what);
                sleep(time).await;
                world.chronicle.note(&target.manners.id, "back");
            }
        }
    }
}

/// Serves on `listener`, and is not away before it is dropped.
pub(super) async fn serve_only(world: Arc<World>, manners: Manners, listener: TcpListener) {
    serve(&Target::new(world, manners), listener).await;
}

/// Waits so long, and for ever when there are no faults by then.
async fn away(world: &World, time: Duration) {
    sleep(time).await;
    if !world.rages() {
        std::future::pending::<()>().await;
    }
}

/// At its own port, which is below those that the kernel gives to others: sooner or later it is free.
async fn bind(address: SocketAddr) -> TcpListener {
    loop {
        if let Ok(listener) = TcpListener::bind(address) {
            return listener;
        }
        sleep(Duration::from_millis(50)).await;
    }
}

/// Dropped, it closes everything.
async fn serve(target: &Arc<Target>, listener: TcpListener) {
    listener.set_nonblocking(true).expect("a listener");
    let listener = tokio::net::TcpListener::from_std(listener).expect("a listener of tokio's");
    let mut open = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => if let Ok((stream, _)) = accepted {
                open.spawn(Arc::clone(target).attend(stream));
            },
            Some(_) = open.join_next() => {}
        }
    }
}

impl Target {
    fn new(world: Arc<World>, manners: Manners) -> Arc<Self> {
        let mut chance = world.chance(&format!("{} deeds", manners.id));
        Arc::new(Self {
            noise: Noise::of(|| chance.number(0..1 << 16)),
            chance: Mutex::new(chance),
            servings: AtomicU64::new(0),
            manners,
            world,
        })
    }

    /// One connection.
    async fn attend(self: Arc<Self>, mut stream: TcpStream) {
        // Fails only where the connection is gone already.
        let _ = stream.set_nodelay(true);
        let mut tidy = self.world.tidy.subscribe();
        loop {
            let request = tokio::select! {
                request = Request::read(&mut stream) => request,
                // The world holds the sender.
                _ = tidy.changed() => return,
            };
            let Some(request) = request else { return };
            let (label, deed) = self.decide(&request);
            let ledger = &self.world.ledger;
            ledger.note(
                request.number,
                format!("{label}: {deed:?}"),
                deed.is_plain(),
            );
            // It may be slow, and the end of the faults is not waited for.
            match play::play(&mut stream, &request, &deed, &label, &self.noise).await {
                Ok(After::Next) => {}
                Ok(After::Close) => return play::close(stream).await,
                Ok(After::Reset) => {
                    // Fails only where the connection is gone already.
                    let _ = stream.set_zero_linger();
                    return;
                }
                Err(_) => return,
            }
        }
    }

    fn decide(&self, request: &Request) -> (Label, Deed) {
        let label = Label {
            target: self.manners.id.clone(),
            request: request.number,
            serving: self.servings.fetch_add(1, Ordering::Relaxed) + 1,
        };
        let mut chance = self.chance.lock().unwrap_or_else(PoisonError::into_inner);
        let behaved = self.world.are_well_behaved();
        let deed = Deed::draw(&mut chance, request, self.manners.for_pushprox, behaved);
        (label, deed)
    }
}
