//! Names that go from one client to another, and names that another instance claims for a while.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::sleep;

use super::chance::Chance;
use super::sites::{self, Site};
use super::target::{self, Manners};
use super::world::World;
use crate::pair::Client;

/// Seconds between two names that move, on average.
const MOVE_EVERY: f64 = 15.0;
/// Seconds between two rivals, on average.
const RIVAL_EVERY: f64 = 20.0;

/// Moves a name now and then, until there shall be calm. Sites keep one name at least.
pub(super) async fn keep_moving(world: Arc<World>, all: Vec<Arc<Site>>) {
    let mut chance = world.chance("moves");
    loop {
        let next = sleep(chance.until_next(MOVE_EVERY));
        if world.calm.run_until_cancelled(next).await.is_none() {
            return;
        }
        let (from, to) = (chance.pick(&all), chance.pick(&all));
        let mut offer = from.offer();
        let names = offer.names();
        if from.id == to.id || names.len() < 2 {
            continue;
        }
        let name = chance.pick(&names);
        let who = format!("{name} {} {}", from.id, to.id);
        world.change(&who, "name moved to another client");
        let moving = offer.take(name);
        // Only the mover changes offers, and one at a time.
        from.offers(offer).await;
        let mut offer = to.offer();
        offer.join(moving);
        to.offers(offer).await;
        world.chronicle.note(&who, "has moved");
    }
}

/// Lets a newer instance with targets of its own claim all names of a site for a while, now and
/// then, until there shall be calm.
pub(super) async fn keep_claiming(world: Arc<World>, all: Vec<Arc<Site>>) {
    let mut chance = world.chance("rivals");
    for number in 0.. {
        let next = sleep(chance.until_next(RIVAL_EVERY));
        if world.calm.run_until_cancelled(next).await.is_none() {
            return;
        }
        let site = chance.pick(&all);
        site.contested.store(true, Ordering::Relaxed);
        claim(&world, site, number, &mut chance).await;
        site.contested.store(false, Ordering::Relaxed);
    }
}

/// One rival: it comes, serves, and goes.
async fn claim(world: &Arc<World>, site: &Site, number: usize, chance: &mut Chance) {
    let who = format!("r{number} {}", site.id);
    world.change(&who, "names claimed by a newer client for a while");
    let mut serving = JoinSet::new();
    let mut flags = sites::flags();
    let mut places = Vec::new();
    for (name, port) in site.offer().targets() {
        let is = |place: &&super::world::Place| place.name == name && place.port == port;
        let Some(place) = world.places.iter().find(is) else {
            continue;
        };
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        flags.push(format!("--target={name}:{port}=http://{address}"));
        let id = format!("r{number}-{}", place.id);
        let manners = Manners {
            id: id.clone(),
            // Never cut by a FIN, which it is when it goes.
            for_pushprox: true,
        };
        serving.spawn(target::serve_only(Arc::clone(world), manners, listener));
        place.rival_comes(id.clone());
        places.push((place, id));
    }
    let urls: Vec<String> = world
        .proxies
        .iter()
        .map(|p| format!("http://{p}"))
        .collect();
    let urls: Vec<&str> = urls.iter().map(String::as_str).collect();
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let rival = Client::launch(&urls, &flags).await;
    sleep(chance.time(1.0..8.0)).await;
    match chance.often(0.5) {
        true => rival.stop().await,
        false => drop(rival),
    }
    // What it had answered may be on its way still.
    sleep(Duration::from_millis(500)).await;
    drop(serving);
    for (place, id) in places {
        place.rival_is_gone(&id);
    }
    world.chronicle.note(&who, "the rival is gone");
}
