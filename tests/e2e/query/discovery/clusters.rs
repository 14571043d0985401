//! What a cluster runs.

use adit_tests::fake_clusters::kubernetes::{
    BETA_SLICES, ENDPOINTS, End, FakeKubernetes, PODS, SLICES, endpoints, pod, slice,
};
use adit_tests::fake_clusters::marathon::{
    FakeMarathon, PRINCIPAL_KEY, app, password_secret, secret,
};
use adit_tests::fake_clusters::{Asked, certificate};
use adit_tests::fake_prometheus::FakePrometheus;
use serde_json::{Value, json};

use super::{World, write};

const CA: &str = "certificate-authority: ca.pem";

/// The cluster's pool, found by its service unless it says otherwise.
fn pool(which: &str) -> String {
    format!(
        "discovery: {{grace: 1h, kubernetes: [{{kubeconfig: kubeconfig, namespace: monitoring, {which}}}]}}"
    )
}

fn found(fake: &FakePrometheus) -> String {
    format!("{} kubernetes", fake.url())
}

fn slice_of(name: &str, fake: &FakePrometheus) -> Value {
    let mut slice = slice(name, &["127.0.0.1"]);
    slice["ports"][0]["port"] = fake.port().into();
    slice
}

fn pod_of(name: &str, fake: &FakePrometheus) -> Value {
    let mut pod = pod(name, "prom", "127.0.0.1");
    pod["spec"]["containers"][0]["ports"][0]["containerPort"] = fake.port().into();
    pod
}

fn watches(asked: &[Asked]) -> usize {
    asked
        .iter()
        .filter(|one| one.query.contains("watch=true"))
        .count()
}

/// Case 50. M14: every slice, only who is ready; a list again after 410, and a watch again after its end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_slices_of_a_service_are_followed() {
    let (tls, ca) = certificate();
    let cluster = FakeKubernetes::start(Some(tls)).await;
    let fakes = ["a", "b", "c"].map(FakePrometheus::start);
    let [a, b, c] = &fakes;
    cluster.demand("t0ken");
    cluster.put(SLICES, slice_of("prom-1", a));
    cluster.put(SLICES, slice_of("prom-2", b));
    let world = World::new(&pool("service: prometheus, port: web"), |folder| {
        write(folder, "ca.pem", &ca);
        write(
            folder,
            "kubeconfig",
            &cluster.kubeconfig(CA, "{token: t0ken}"),
        );
    })
    .await;
    world.lists(&[found(a), found(b)]).await;
    world.healthy(2).await;
    world.answers_of(&["a", "b"]).await;
    // It is told to stop, as before a pod's end.
    let mut stopping = slice_of("prom-1", a);
    stopping["endpoints"][0]["conditions"] = json!({"ready": false, "terminating": true});
    cluster.put(SLICES, stopping);
    world.lists(&[found(b)]).await;
    world.answers_of(&["b"]).await;
    a.all_closed().await;
    world.has_no_series_with(&a.address().to_string()).await;
    let ours = &cluster;
    let another_watch = async |before: usize| {
        ours.until("another watch", |asked| watches(asked) > before)
            .await;
    };
    for (end, fake) in [
        (End::Clean, a),
        (End::Cut, c),
        (End::Expired, a),
        (End::Error, c),
    ] {
        let before = watches(&ours.asked());
        cluster.end(end);
        another_watch(before).await;
        cluster.put(SLICES, slice_of("prom-1", fake));
        world.lists(&[found(b), found(fake)]).await;
    }
    cluster.bookmark(SLICES);
    cluster.delete(SLICES, "prom-1");
    world.lists(&[found(b)]).await;
    world.source("kubernetes", "answering").await;
}

/// Case 50. M14: every subset, of a cluster that has no slices.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_cluster_has_endpoints() {
    let cluster = FakeKubernetes::start(None).await;
    let fakes = ["a", "b"].map(FakePrometheus::start);
    let [a, b] = &fakes;
    cluster.lack(SLICES);
    cluster.lack(BETA_SLICES);
    let subsets: [(&[&str], u16); 2] = [(&["127.0.0.1"], a.port()), (&["127.0.0.1"], b.port())];
    cluster.put(ENDPOINTS, endpoints("prometheus", &subsets));
    let world = World::new(&pool("service: prometheus"), |folder| {
        write(folder, "kubeconfig", &cluster.kubeconfig("", "{}"));
    })
    .await;
    world.lists(&[found(a), found(b)]).await;
    world.answers_of(&["a", "b"]).await;
}

/// Case 52. M14: those that are not ready, have no address or no port, are none; and who may not look is
/// told what is missing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_pods_that_are_ready_are_asked() {
    let cluster = FakeKubernetes::start(None).await;
    let fakes = ["a", "b"].map(FakePrometheus::start);
    let [a, b] = &fakes;
    cluster.forbid(PODS);
    cluster.put(PODS, pod_of("prom-0", a));
    let mut unready = pod_of("prom-1", b);
    unready["status"]["conditions"][0]["status"] = "False".into();
    cluster.put(PODS, unready);
    let mut pending = pod_of("prom-2", b);
    pending["status"] = json!({"phase": "Pending"});
    cluster.put(PODS, pending);
    let mut portless = pod_of("prom-3", b);
    portless["spec"]["containers"][0]["ports"] = json!([]);
    cluster.put(PODS, portless);
    let mut other = pod_of("node-0", b);
    other["metadata"]["labels"]["app"] = "node".into();
    cluster.put(PODS, other);
    let world = World::new(&pool("pod_selector: app=prom"), |folder| {
        write(folder, "kubeconfig", &cluster.kubeconfig("", "{}"));
    })
    .await;
    let error = world.source("kubernetes", "failing").await;
    assert!(error.contains("cannot list resource \"pods\""), "{error}");
    cluster.permit(PODS);
    world.lists(&[found(a)]).await;
    world.source("kubernetes", "answering").await;
    world.answers_of(&["a"]).await;
    cluster.put(PODS, pod_of("prom-1", b));
    world.lists(&[found(a), found(b)]).await;
    cluster.delete(PODS, "prom-0");
    world.lists(&[found(b)]).await;
    world.answers_of(&["b"]).await;
}

/// Case 51. M14: what the kubelet has renewed is shown, and the old one is not tried again and again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotated_token_is_no_loop_of_refusals() {
    let cluster = FakeKubernetes::start(None).await;
    let fakes = ["a", "b"].map(FakePrometheus::start);
    let [a, b] = &fakes;
    cluster.demand("first");
    cluster.put(SLICES, slice_of("prom-1", a));
    let world = World::new(&pool("service: prometheus"), |folder| {
        write(folder, "token", "first\n");
        write(
            folder,
            "kubeconfig",
            &cluster.kubeconfig("", "{tokenFile: token}"),
        );
    })
    .await;
    world.lists(&[found(a)]).await;
    cluster.until("a watch", |asked| watches(asked) == 1).await;
    world.write("token", "second\n");
    cluster.demand("second");
    let before = cluster.asked().len();
    cluster.end(End::Clean);
    cluster
        .until("another watch", |asked| watches(asked) == 2)
        .await;
    cluster.put(SLICES, slice_of("prom-1", b));
    world.lists(&[found(b)]).await;
    for asked in &cluster.asked()[before..] {
        assert_eq!(asked.authorization(), "Bearer second");
    }
    // One that nobody takes waits longer each time.
    cluster.demand("third");
    let before = cluster.asked().len();
    cluster.end(End::Clean);
    let error = world.source("kubernetes", "failing").await;
    assert!(error.contains("401"), "{error}");
    let refused = cluster.asked().len() - before;
    assert!((1..=3).contains(&refused), "{refused}");
    world.lists(&[found(b)]).await;
    world.write("token", "third\n");
    world.source("kubernetes", "answering").await;
    world.answers_of(&["b"]).await;
}

/// Case 53.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tasks_of_a_marathon_are_asked_whoever_of_its_members_is_there() {
    let mut marathon = FakeMarathon::start(2, "", None).await;
    let fakes = ["a", "b"].map(FakePrometheus::start);
    let [a, b] = &fakes;
    let found = |fake: &FakePrometheus| format!("{} marathon", fake.url());
    let of = |ports: &[u16]| {
        let tasks: Vec<_> = ports.iter().map(|port| ("127.0.0.1", *port)).collect();
        app("/monitoring/prom", &tasks)
    };
    marathon.put(of(&[a.port()]));
    marathon.put(json!({"id": "/portless", "instances": 1,
        "tasks": [{"id": "t", "host": "127.0.0.1", "ports": [], "state": "TASK_RUNNING"}]}));
    let pool = format!(
        "discovery: {{grace: 200ms, marathon: [{{urls: ['{}', '{}'], \
         apps: [monitoring/prom, /portless], refresh: 100ms}}]}}",
        marathon.url(0),
        marathon.url(1)
    );
    let world = World::new(&pool, |_| {}).await;
    world.lists(&[found(a)]).await;
    world.answers_of(&["a"]).await;
    marathon.kill(0);
    marathon.put(of(&[a.port(), b.port()]));
    world.lists(&[found(a), found(b)]).await;
    world.answers_of(&["a", "b"]).await;
    let mut staging = of(&[a.port(), b.port()]);
    staging["tasks"][0]["state"] = "TASK_STAGING".into();
    marathon.put(staging);
    world.lists(&[found(b)]).await;
    a.all_closed().await;
    marathon.say(Some((500, "{}")));
    world.source("marathon", "failing").await;
    world.lists(&[found(b)]).await;
    world.answers_of(&["b"]).await;
}

/// Case 54. M13: by TLS that only our CA vouches for; a token that has expired is one more login.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dcos_is_logged_in_to_and_again_when_the_token_has_expired() {
    let (tls, ca) = certificate();
    let marathon = FakeMarathon::start(1, "/marathon", Some(tls)).await;
    let fakes = ["a", "b"].map(FakePrometheus::start);
    let [a, b] = &fakes;
    let found = |fake: &FakePrometheus| format!("{} marathon", fake.url());
    marathon.demand_login();
    marathon.put(app("/prom", &[("127.0.0.1", a.port())]));
    let pool = |more: &str| {
        format!(
            "discovery: {{marathon: [{{urls: ['{}'], apps: [/prom], refresh: 100ms{more}}}]}}",
            marathon.url(0)
        )
    };
    let with_ca = pool(", principal_secret_file: secret, tls: {ca_file: ca.pem}");
    let login = marathon.login();
    for principal in [secret(&login, PRINCIPAL_KEY), password_secret(&login)] {
        let before = marathon.logins().0;
        marathon.put(app("/prom", &[("127.0.0.1", a.port())]));
        let world = World::new(&with_ca, |folder| {
            write(folder, "ca.pem", &ca);
            write(folder, "secret", &principal.to_string());
        })
        .await;
        world.lists(&[found(a)]).await;
        world.answers_of(&["a"]).await;
        assert_eq!(marathon.logins(), (before + 1, Vec::new()));
        marathon.expire();
        marathon.put(app("/prom", &[("127.0.0.1", b.port())]));
        world.lists(&[found(b)]).await;
        assert_eq!(marathon.logins(), (before + 2, Vec::new()));
    }
    // mpp panicked.
    for (more, broken, says) in [
        (
            ", tls: {ca_file: ca.pem}",
            None,
            "set principal_secret_file",
        ),
        (
            ", principal_secret_file: secret, tls: {ca_file: ca.pem}",
            Some(json!({"uid": "adit"})),
            "private_key is missing",
        ),
        (
            ", tls: {insecure_skip_verify: true}",
            None,
            "set principal_secret_file",
        ),
        ("", None, "certificate"),
    ] {
        let world = World::new(&pool(more), |folder| {
            write(folder, "ca.pem", &ca);
            let secret = broken.unwrap_or_else(|| secret(&login, PRINCIPAL_KEY));
            write(folder, "secret", &secret.to_string());
        })
        .await;
        let error = world.source("marathon", "failing").await;
        assert!(error.contains(says), "{more}: {error}");
    }
}
