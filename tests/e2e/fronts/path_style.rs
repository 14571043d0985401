//! Scrapes at a path of ours, which every front passes.

use adit_tests::fronts::{Front, Kind, Setup};
use adit_tests::pair::{Client, Proxy};
use adit_tests::scraper::End;
use adit_tests::target::Target;
use adit_tests::target::answers::{halves, metric, ok};
use adit_tests::target::script::Step;

super::behind_each_front!(paths_and_queries_pass_byte_for_byte);

async fn paths_and_queries_pass_byte_for_byte(kind: Kind) {
    let target = Target::start(ok(metric("m")));
    let proxy = Proxy::start(&["--web.route-prefix=/adit"]).await;
    let front = Front::start(kind, Setup::before(proxy.address)).await;
    let flag = format!("--target=pi:9100=http://{}", target.address());
    let url = format!("{}/adit", proxy.url());
    let _client = Client::start(&[&url], &[&flag]).await;
    for path in [
        "/metrics",
        "/probe?target=http%3A%2F%2Fa.b%2Fc&module=x+y&m[]=%5B1%5D&=&&q",
        "/a%2Fb/c%20d//e/",
        "/",
        "/metrics?",
        "/a;b=c,d@e:f!$&'()*+~._-",
    ] {
        let answer = front.get(&format!("/scrape/http/pi:9100{path}"), &[]).await;
        assert_eq!(answer.expect(200).text(), metric("m"), "{path}");
        let requests = target.requests();
        let request = requests.last().unwrap();
        assert_eq!(request.path(), path);
        assert_eq!(request.field("authorization"), None);
    }
}
