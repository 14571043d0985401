//! A session's life: upgraded, registered, serving, ended.

use std::sync::Arc;

use adit_common::name::Name;
use adit_common::registration::{Instance, Registration};
use adit_common::tunnel::goodbye::{End, Ending, Farewell, Goodbye};
use adit_common::tunnel::tasks::Tasks;
use hyper::upgrade::OnUpgrade;
use tokio::time::timeout;
use tracing::Instrument;

use super::registration::{RegistrationEnd, Registrations, accepted, going_away};
use super::tunnel::{Driver, Tunnel};
use crate::Proxy;
use crate::auth::{Changes, Denied, Grant, Place, Visitor};
use crate::carrier::Session;

/// Whoever was let in, and by what.
pub(super) struct Admitted {
    pub(super) visitor: Visitor,
    pub(super) grant: Grant,
    /// Since the credentials were looked at.
    pub(super) changes: Changes,
    pub(super) _place: Place,
}

impl Admitted {
    /// Whether it may have these names as of now.
    fn may_take(&mut self, proxy: &Proxy, names: &[Name]) -> Result<(), Denied> {
        let renewed = proxy.auth.renew(&self.grant);
        let allowed = match renewed {
            Some(grant) => {
                self.grant = grant;
                self.grant.may_take(names)
            }
            None => {
                let words = format!("these credentials ({}) are good no longer", self.grant.id());
                Err(Denied::Forbidden(words))
            }
        };
        allowed.inspect_err(|denied| proxy.auth.note_denied(&self.visitor, denied))
    }
}

/// Runs until the session is over; then nothing of it is left.
pub(super) async fn live(
    proxy: Arc<Proxy>,
    admitted: Admitted,
    instance: Instance,
    upgrade: OnUpgrade,
) {
    let peer = admitted.visitor.peer();
    let span = tracing::info_span!("session", %peer, instance = %instance.id);
    async {
        let opening = Tunnel::open(upgrade, proxy.config.liveness, proxy.limits.tunnel_message);
        match timeout(proxy.limits.registration_time, opening).await {
            Ok(Ok(tunnel)) => serve(&proxy, admitted, instance, tunnel).await,
            Ok(Err(why)) => tracing::info!(reason = %why, "tunnel failed"),
            Err(_) => tracing::info!(reason = "no upgrade in time", "tunnel failed"),
        }
    }
    .instrument(span)
    .await;
}

async fn serve(proxy: &Arc<Proxy>, admitted: Admitted, instance: Instance, tunnel: Tunnel) {
    let Tunnel {
        mut sender,
        driver,
        tasks,
        traffic,
        ending,
    } = tunnel;
    let _end = tasks.end_on_drop();
    let mut driver = Some(driver);
    let (time, names) = (
        proxy.limits.registration_time,
        proxy.limits.names_per_session,
    );
    let first = async {
        let mut registrations = Registrations::ask(&mut sender, names).await?;
        let registration = registrations.next().await?;
        Ok((registrations, registration))
    };
    // The connection must be driven for anything in it to happen.
    let first = tokio::select! {
        first = timeout(time, first) => first,
        () = drive(&mut driver) => Ok(Err(RegistrationEnd::Closed)),
        () = proxy.stop.now().cancelled() => return tasks.end(),
    };
    match first {
        Ok(Ok((registrations, registration))) => {
            let session = Session::new(
                instance,
                registration,
                Some(sender.clone()),
                &proxy.limits,
                ending.clone(),
            );
            drop(sender);
            registered(
                proxy,
                admitted,
                &session,
                registrations,
                &mut driver,
                &tasks,
            )
            .await;
            proxy.registry.release(&session);
            session.close();
        }
        Ok(Err(end)) => {
            note(proxy, &ending, end);
            refused(proxy, &ending);
            drop(sender);
        }
        Err(_) => {
            let reason = format!("no registration within {time:?} (registration_time)");
            proxy.metrics.limit("registration_time");
            ending.say(Goodbye::new(Farewell::BadRegistration, reason));
            refused(proxy, &ending);
            drop(sender);
        }
    }
    if let Some(End::Own(goodbye)) = ending.end()
        && goodbye.farewell == Farewell::TooBig
    {
        proxy.metrics.limit("tunnel_message");
    }
    part(proxy, &ending, driver, &tasks).await;
    tasks.end();
    tasks.ended().await;
    proxy.metrics.tunnel_received.inc_by(traffic.received());
    proxy.metrics.tunnel_sent.inc_by(traffic.sent());
}

/// The session serves while this runs.
async fn registered(
    proxy: &Arc<Proxy>,
    mut admitted: Admitted,
    session: &Arc<Session>,
    mut registrations: Registrations,
    driver: &mut Option<Driver>,
    tasks: &Tasks,
) {
    let first = session.offer();
    if !claim(proxy, &mut admitted, session, &first.names) {
        return refused(proxy, session.ending());
    }
    if let Some(sender) = session.sender() {
        tell(proxy, tasks, accepted(sender));
    }
    proxy.metrics.sessions.inc();
    tracing::info!(
        names = %list(&first),
        credentials = admitted.grant.id(),
        targets = first.targets.len(),
        version = %first.version,
        "client registered"
    );
    let ending = session.ending();
    let draining = proxy.stop.draining();
    let mut moving = false;
    drop(first);
    loop {
        tokio::select! {
            () = drive(driver) => {
                // Whatever ended it has been noted, but a GOAWAY: then streams under way go on.
                note(proxy, ending, RegistrationEnd::Closed);
                break;
            }
            () = session.dismissed().cancelled() => break,
            () = draining.cancelled(), if !moving => {
                // It carries what still comes, while the client dials its next tunnel.
                moving = true;
                if let Some(sender) = session.sender() {
                    tell(proxy, tasks, going_away(sender));
                }
            }
            () = admitted.changes.changed() => {
                if let Err(denied) = admitted.may_take(proxy, &session.offer().names) {
                    session.dismiss(Farewell::Denied, denied);
                    break;
                }
            }
            () = proxy.stop.done().cancelled() => {
                session.dismiss(Farewell::GoingAway, "the proxy is stopping");
                break;
            }
            next = registrations.next() => match next {
                Ok(changed) => {
                    let names = list(&changed);
                    session.offers(changed);
                    if !claim(proxy, &mut admitted, session, &session.offer().names) {
                        break;
                    }
                    tracing::info!(%names, "registration changed");
                }
                Err(end) => {
                    note(proxy, ending, end);
                    break;
                }
            },
        }
    }
    proxy.metrics.sessions.dec();
    let end = ending.end().cloned().unwrap_or(End::Lost("closed".into()));
    let ended = &proxy.metrics.sessions_ended;
    ended.with_label_values(&[end.as_str()]).inc();
    tracing::info!(reason = %end, "client gone");
}

/// Says something to the client. Not waited for, but not for ever either: the sender would keep the
/// tunnel open.
fn tell<F>(proxy: &Proxy, tasks: &Tasks, saying: F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let told = timeout(proxy.limits.registration_time, saying);
    tasks.spawn(async {
        let _ = told.await;
    });
}

fn claim(
    proxy: &Arc<Proxy>,
    admitted: &mut Admitted,
    session: &Arc<Session>,
    names: &[Name],
) -> bool {
    if let Err(denied) = admitted.may_take(proxy, names) {
        session.dismiss(Farewell::Denied, denied);
        return false;
    }
    let rules = proxy.rules.current();
    match proxy.registry.claim(session, names, &rules) {
        Ok(evicted) => {
            for old in evicted {
                let by = session.instance().id;
                old.dismiss(Farewell::Replaced, format!("replaced by instance {by}"));
            }
            true
        }
        Err(taken) => {
            session.dismiss(Farewell::Replaced, taken);
            false
        }
    }
}

/// Said once: of a session that was registered the line about its end says it.
fn refused(proxy: &Proxy, ending: &Ending) {
    if let Some(End::Peer(Goodbye {
        farewell: Farewell::GoingAway,
        ..
    })) = ending.end()
    {
        // It only wanted to know whether it would be let in.
        tracing::info!("the client left before it registered");
        return;
    }
    proxy.metrics.registrations_refused.inc();
    if let Some(end) = ending.end() {
        tracing::warn!(reason = %end, "registration refused");
    }
}

/// Why no further registration comes, for the client as well where it is at fault.
fn note(proxy: &Proxy, ending: &Ending, end: RegistrationEnd) {
    match end {
        RegistrationEnd::Bad(_) | RegistrationEnd::Names(..) | RegistrationEnd::Status(_) => {
            if let RegistrationEnd::Names(..) = end {
                proxy.metrics.limit("names_per_session");
            }
            ending.say(Goodbye::new(Farewell::BadRegistration, end));
        }
        RegistrationEnd::Closed => {
            ending.note(End::Peer(Goodbye::new(Farewell::GoingAway, end)));
        }
        RegistrationEnd::Lost(_) => ending.note(End::Lost(end.to_string())),
    }
}

/// Lets what is under way finish, when one of the ends has only decided to part, and our Close
/// frame leave. No scrape takes longer than the longest deadline; while the proxy drains, whoever
/// waits for us keeps the grace.
async fn part(proxy: &Arc<Proxy>, ending: &Ending, mut driver: Option<Driver>, tasks: &Tasks) {
    if !matches!(ending.end(), Some(End::Own(_) | End::Peer(_))) {
        return;
    }
    let time = proxy.config.timeouts.max;
    let finished = async {
        drive(&mut driver).await;
        // hyper's own task goes on until every stream has ended, and then says goodbye.
        tasks.ended().await;
    };
    tokio::select! {
        () = finished => {}
        () = tokio::time::sleep(time) => {}
        () = proxy.stop.now().cancelled() => {}
    }
}

/// Polls the connection until nothing more can be sent in it. What is left of it then is hyper's
/// own task, which the driver's drop releases.
async fn drive(driver: &mut Option<Driver>) {
    if let Some(running) = driver {
        let _ = running.await;
        *driver = None;
    }
}

/// The first names, for a log line.
fn list(registration: &Registration) -> String {
    const SHOWN: usize = 5;
    let names = &registration.names;
    let mut list = names
        .iter()
        .take(SHOWN)
        .map(|name| name.as_str())
        .collect::<Vec<_>>()
        .join(",");
    if names.len() > SHOWN {
        list.push_str(&format!(",… ({} in all)", names.len()));
    }
    list
}
