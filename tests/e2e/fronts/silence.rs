//! Tunnels on which nobody asks for anything, behind fronts that cut what is idle.

use std::time::Duration;

use adit_tests::fronts::{Kind, Setup};
use adit_tests::metrics::Metrics;
use adit_tests::target::Target;
use adit_tests::target::answers::{metric, ok};
use adit_tests::wait::{PATIENCE, eventually};

use super::site::Site;

/// What the front allows.
const IDLE: Duration = Duration::from_secs(5);

super::behind_each_front!(a_silent_tunnel_outlives_the_fronts_idle_timeout);
super::behind_each_front_of_bytes!(a_silent_tunnel_outlives_the_fronts_idle_timeout);

async fn a_silent_tunnel_outlives_the_fronts_idle_timeout(kind: Kind) {
    let target = Target::start(ok(metric("m")));
    let site = Site::set_up(kind, Setup::of(kind).idle(IDLE), &[]).await;
    let offer = format!("--target=pi:9100=http://{}", target.address());
    let awake = site.client(&["--tunnel.ping-interval=2s", &offer]).await;
    // It pings too seldom: without it nobody would know that there is a timeout.
    let asleep = site.client(&["--target=asleep:1"]).await;
    match kind {
        // It has none for tunnels.
        Kind::Caddy => tokio::time::sleep(2 * IDLE + Duration::from_secs(1)).await,
        _ => {
            eventually(PATIENCE, "a tunnel is cut twice", async || {
                let metrics = Metrics::of(asleep.web).await;
                match metrics.sum("adit_client_tunnels_ended_total") {
                    2.0.. => Ok(()),
                    ended => Err(ended.to_string()),
                }
            })
            .await;
        }
    }
    let metrics = Metrics::of(awake.web).await;
    assert_eq!(metrics.sum("adit_client_dials_total"), 1.0);
    assert_eq!(metrics.sum("adit_client_tunnels_ended_total"), 0.0);
    assert_eq!(metrics.sum("adit_client_sessions"), 1.0);
    let path = "/scrape/http/pi:9100/metrics";
    site.front.get(path).await.expect(200);
}
