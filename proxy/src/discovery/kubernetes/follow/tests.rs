//! [`super::follow`] against an API server that says what real ones say.

use std::path::PathBuf;

use adit_common::target::Scheme;
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::*;
use crate::config::query::{KubernetesSelect, Manner};
use crate::discovery::fake_clusters::kubernetes::{
    BETA_SLICES, ENDPOINTS, End, FakeKubernetes, PODS, SLICES, endpoints, pod, slice,
};

const PATIENCE: Duration = Duration::from_secs(30);

pub(in super::super) fn source(select: KubernetesSelect) -> KubernetesSource {
    KubernetesSource {
        kubeconfig: None,
        namespace: "monitoring".to_owned(),
        select,
        port: None,
        scheme: Scheme::Http,
        path_prefix: String::new(),
        manner: Manner::default(),
    }
}

fn service() -> KubernetesSource {
    source(KubernetesSelect::Service("prometheus".to_owned()))
}

/// A source that is being followed.
struct Followed {
    news: mpsc::Receiver<(usize, Result<Vec<Found>, String>)>,
    folder: TempDir,
    _following: JoinSet<()>,
}

impl Followed {
    /// By a kubeconfig that leads there, with a token in a file.
    fn by_kubeconfig(server: &FakeKubernetes, source: KubernetesSource) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("token"), "t0ken").unwrap();
        let path = folder.path().join("config");
        let text = server.kubeconfig("extensions: []", "{tokenFile: token}");
        std::fs::write(&path, text).unwrap();
        let nowhere = Surroundings {
            host: None,
            port: None,
            account: PathBuf::new(),
        };
        let kubeconfig = Some(path);
        Self::start(
            KubernetesSource {
                kubeconfig,
                ..source
            },
            nowhere,
            PACE,
            folder,
        )
    }

    fn start(
        source: KubernetesSource,
        surroundings: Surroundings,
        pace: Pace,
        folder: TempDir,
    ) -> Self {
        let (sender, news) = mpsc::channel(16);
        let mut following = JoinSet::new();
        let mut follower = Follower::new(source, Report::new(0, sender), surroundings, pace);
        following.spawn(async move { follower.run().await });
        Self {
            news,
            folder,
            _following: following,
        }
    }

    /// What is told next.
    async fn next(&mut self) -> Result<Vec<String>, String> {
        let news = timeout(PATIENCE, self.news.recv()).await.expect("news");
        let (_, told) = news.expect("it goes on for ever");
        told.map(|found| found.iter().map(|found| found.url.to_string()).collect())
    }

    async fn found(&mut self) -> Vec<String> {
        self.next().await.expect("backends")
    }

    async fn failed(&mut self) -> String {
        self.next().await.expect_err("a failure")
    }

    /// What is told first that is no failure.
    async fn recovered(&mut self) -> Vec<String> {
        loop {
            if let Ok(found) = self.next().await {
                return found;
            }
        }
    }

    fn is_silent(&mut self) -> bool {
        self.news.try_recv().is_err()
    }
}

fn lists(asked: &[crate::discovery::fake_clusters::Asked]) -> usize {
    asked.iter().filter(|asked| !is_watch(asked)).count()
}

fn watches(asked: &[crate::discovery::fake_clusters::Asked]) -> usize {
    asked.iter().filter(|asked| is_watch(asked)).count()
}

fn is_watch(asked: &crate::discovery::fake_clusters::Asked) -> bool {
    asked.query.contains("watch=true")
}

/// Case 50.
#[tokio::test]
async fn all_slices_of_a_service_are_followed() {
    let server = FakeKubernetes::start(None).await;
    server.demand("t0ken");
    server.put(SLICES, slice("a", &["10.0.0.1"]));
    server.put(SLICES, slice("b", &["fd00::1", "10.0.0.2"]));
    let mut other = slice("c", &["10.0.0.66"]);
    other["metadata"]["labels"]["kubernetes.io/service-name"] = "another".into();
    server.put(SLICES, other);
    // One object a page.
    server.page(1);
    let mut followed = Followed::by_kubeconfig(&server, service());
    let all = [
        "http://10.0.0.1:9090",
        "http://10.0.0.2:9090",
        "http://[fd00::1]:9090",
    ];
    assert_eq!(followed.found().await, all);
    server.put(SLICES, slice("d", &["10.0.0.3"]));
    assert_eq!(followed.found().await.len(), 4);
    let mut terminating = slice("d", &["10.0.0.3"]);
    terminating["endpoints"][0]["conditions"] =
        serde_json::json!({"ready": false, "serving": true, "terminating": true});
    server.put(SLICES, terminating);
    assert_eq!(followed.found().await, all);
    server.delete(SLICES, "b");
    assert_eq!(followed.found().await, all[..1]);
    server.delete(SLICES, "a");
    assert_eq!(
        followed.found().await,
        [""; 0],
        "nothing is something to tell"
    );
    let asked = server.asked();
    assert_eq!((lists(&asked), watches(&asked)), (2, 1), "{asked:#?}");
    let watch = asked.iter().find(|asked| is_watch(asked)).unwrap();
    for said in [
        "allowWatchBookmarks=true",
        "timeoutSeconds=",
        "resourceVersion=103",
    ] {
        assert!(watch.query.contains(said), "{}", watch.query);
    }
}

/// Case 50: v1, then v1beta1, then endpoints, of all subsets.
#[tokio::test]
async fn an_older_server_is_asked_what_it_has() {
    let server = FakeKubernetes::start(None).await;
    server.lack(SLICES);
    server.put(BETA_SLICES, slice("a", &["10.0.0.1"]));
    server.put(
        ENDPOINTS,
        endpoints("prometheus", &[(&["10.0.0.1"], 9090), (&["fd00::1"], 9091)]),
    );
    server.put(ENDPOINTS, endpoints("another", &[(&["10.0.0.66"], 9090)]));
    let mut followed = Followed::by_kubeconfig(&server, service());
    assert_eq!(followed.found().await, ["http://10.0.0.1:9090"]);
    // It is another server when it comes back.
    server.until("a watch", |asked| watches(asked) == 1).await;
    server.lack(BETA_SLICES);
    server.end(End::Error);
    let why = followed.failed().await;
    assert!(why.contains("etcd is away (500)"), "{why}");
    let all = ["http://10.0.0.1:9090", "http://[fd00::1]:9091"];
    assert_eq!(followed.found().await, all);
    server.put(ENDPOINTS, endpoints("prometheus", &[(&["10.0.0.9"], 9090)]));
    assert_eq!(followed.found().await, ["http://10.0.0.9:9090"]);
}

/// Case 50: a role made for mpp allows endpoints and nothing else.
#[tokio::test]
async fn what_is_forbidden_is_named_and_what_is_allowed_is_used() {
    let server = FakeKubernetes::start(None).await;
    for collection in [SLICES, BETA_SLICES, ENDPOINTS] {
        server.forbid(collection);
    }
    server.put(ENDPOINTS, endpoints("prometheus", &[(&["10.0.0.1"], 9090)]));
    let mut followed = Followed::by_kubeconfig(&server, service());
    let why = followed.failed().await;
    for said in [
        "403 Forbidden",
        "endpointslices.discovery.k8s.io is forbidden",
        "cannot list resource \"endpointslices\"",
        "get, list and watch",
    ] {
        assert!(why.contains(said), "{why}");
    }
    server.permit(ENDPOINTS);
    assert_eq!(followed.recovered().await, ["http://10.0.0.1:9090"]);
}

/// Case 50.
#[tokio::test]
async fn a_watch_that_ends_goes_on_where_it_was_and_nothing_is_told() {
    let server = FakeKubernetes::start(None).await;
    server.put(SLICES, slice("a", &["10.0.0.1"]));
    let mut followed = Followed::by_kubeconfig(&server, service());
    assert_eq!(followed.found().await.len(), 1);
    server.until("a watch", |asked| watches(asked) == 1).await;
    let version = server.bookmark(SLICES);
    for (n, end) in [End::Clean, End::Cut].into_iter().enumerate() {
        server.end(end);
        server
            .until("a watch", |asked| watches(asked) == n + 2)
            .await;
    }
    let asked = server.asked();
    assert_eq!(lists(&asked), 1, "{asked:#?}");
    let last = asked.last().unwrap();
    assert!(
        last.query.contains(&format!("resourceVersion={version}")),
        "{}",
        last.query
    );
    assert!(followed.is_silent());
    // What happens while there is no watch is told by the next.
    server.end(End::Cut);
    server.put(SLICES, slice("b", &["10.0.0.2"]));
    assert_eq!(followed.found().await.len(), 2);
    assert_eq!(lists(&server.asked()), 1);
}

/// Case 50: 410 in a line, and as a status.
#[tokio::test]
async fn a_version_that_expired_is_a_new_list_and_no_failure() {
    let server = FakeKubernetes::start(None).await;
    server.put(SLICES, slice("a", &["10.0.0.1"]));
    server.put(SLICES, slice("b", &["10.0.0.2"]));
    let mut followed = Followed::by_kubeconfig(&server, service());
    assert_eq!(followed.found().await.len(), 2);
    server.until("a watch", |asked| watches(asked) == 1).await;
    server.end(End::Expired);
    server.until("a watch", |asked| watches(asked) == 2).await;
    assert_eq!(lists(&server.asked()), 2);
    assert!(followed.is_silent(), "it is as it was");

    server.forget(true);
    server.delete(SLICES, "b");
    // The watch may still say it; then the version is good.
    assert_eq!(followed.found().await, ["http://10.0.0.1:9090"]);
    server.forget(true);
    server.end(End::Cut);
    server.until("a list", |asked| lists(asked) == 3).await;
    server.put(SLICES, slice("c", &["10.0.0.3"]));
    assert_eq!(followed.found().await.len(), 2);
}

#[tokio::test]
async fn versions_that_expire_again_and_again_are_no_storm() {
    let server = FakeKubernetes::start(None).await;
    let mut followed = Followed::by_kubeconfig(&server, service());
    assert_eq!(followed.found().await.len(), 0);
    for n in 1..=4 {
        server.until("a watch", |asked| watches(asked) == n).await;
        server.end(End::Expired);
    }
    server.until("a watch", |asked| watches(asked) == 5).await;
    assert_eq!(lists(&server.asked()), 5, "a list for each, and no more");
}

#[tokio::test]
async fn a_watch_that_says_nothing_for_too_long_is_dead() {
    let server = FakeKubernetes::start(None).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config");
    std::fs::write(&path, server.kubeconfig("extensions: []", "{}")).unwrap();
    let source = KubernetesSource {
        kubeconfig: Some(path),
        ..service()
    };
    let pace = Pace {
        watch: 1..2,
        margin: Duration::from_millis(200),
    };
    server.fall_silent(true);
    let mut followed = Followed::start(source, Surroundings::own(), pace, folder);
    assert_eq!(followed.found().await.len(), 0);
    server
        .until("a second watch", |asked| watches(asked) == 2)
        .await;
    server.fall_silent(false);
    server.put(SLICES, slice("a", &["10.0.0.1"]));
    assert_eq!(followed.found().await.len(), 1);
    assert_eq!(lists(&server.asked()), 1);
}

/// Case 51, and M14: the kubelet puts a new token there, and the old one is no longer good.
#[tokio::test]
async fn a_rotated_token_is_used_at_once() {
    let server = FakeKubernetes::start(None).await;
    server.demand("t0ken");
    let mut followed = Followed::by_kubeconfig(&server, service());
    assert_eq!(followed.found().await.len(), 0);
    server.until("a watch", |asked| watches(asked) == 1).await;
    server.demand("next");
    std::fs::write(followed.folder.path().join("token"), "next").unwrap();
    server.end(End::Expired);
    server.until("a watch", |asked| watches(asked) == 2).await;
    let last = server.asked().pop().unwrap();
    assert_eq!(last.authorization(), "Bearer next");
    assert!(followed.is_silent(), "nothing has failed");
}

/// Case 51: a token that is not good is not tried in a loop.
#[tokio::test]
async fn a_token_that_is_refused_waits() {
    let server = FakeKubernetes::start(None).await;
    server.demand("another");
    let mut followed = Followed::by_kubeconfig(&server, service());
    for _ in 0..3 {
        let why = followed.failed().await;
        assert!(why.contains("401") && why.contains("still good?"), "{why}");
        assert!(!why.contains("t0ken"), "{why}");
    }
    let asked = server.asked().len();
    assert!(
        (3..=4).contains(&asked),
        "{asked} requests for three failures"
    );
    std::fs::write(followed.folder.path().join("token"), "another").unwrap();
    assert_eq!(followed.recovered().await.len(), 0);
}

/// Case 52.
#[tokio::test]
async fn pods_come_and_go() {
    let server = FakeKubernetes::start(None).await;
    server.put(PODS, pod("p-0", "a", "10.0.0.1"));
    server.put(PODS, pod("p-1", "b", "10.0.0.2"));
    server.put(PODS, pod("p-2", "c", "10.0.0.3"));
    let mut pending = pod("p-3", "a", "");
    pending["status"] = serde_json::json!({"phase": "Pending"});
    server.put(PODS, pending);
    let select = KubernetesSelect::Pods("app in (a, b),app!=c".to_owned());
    let mut followed = Followed::by_kubeconfig(&server, source(select));
    let both = ["http://10.0.0.1:9090", "http://10.0.0.2:9090"];
    assert_eq!(followed.found().await, both);
    server.put(PODS, pod("p-3", "a", "fd00::3"));
    assert_eq!(
        followed.found().await,
        [both[0], both[1], "http://[fd00::3]:9090"]
    );
    let mut going = pod("p-3", "a", "fd00::3");
    going["metadata"]["deletionTimestamp"] = "2026-11-01T10:00:00Z".into();
    server.put(PODS, going);
    assert_eq!(followed.found().await, both);
}

#[tokio::test]
async fn a_server_that_is_away_is_a_failure_until_it_is_back() {
    let server = FakeKubernetes::start(None).await;
    server.put(SLICES, slice("a", &["10.0.0.1"]));
    let mut followed = Followed::by_kubeconfig(&server, service());
    assert_eq!(followed.found().await.len(), 1);
    server.until("a watch", |asked| watches(asked) == 1).await;
    drop(server);
    let why = followed.failed().await;
    assert!(why.contains("http://127.0.0.1:"), "{why}");
    // It comes back elsewhere, and the kubeconfig says so.
    let server = FakeKubernetes::start(None).await;
    server.put(SLICES, slice("a", &["10.0.0.1"]));
    server.put(SLICES, slice("b", &["10.0.0.2"]));
    let text = server.kubeconfig("extensions: []", "{}");
    let path = followed.folder.path().join("config");
    let next = path.with_extension("next");
    std::fs::write(&next, text).unwrap();
    std::fs::rename(next, path).unwrap();
    // From its old version on it is told what is new, or told to list anew.
    assert!(!followed.recovered().await.is_empty());
}

/// As a pod: TLS by the service account's CA, and its token.
#[tokio::test]
async fn a_pod_finds_its_cluster() {
    let (tls, ca) = crate::discovery::fake_clusters::certificate();
    let server = FakeKubernetes::start(Some(tls)).await;
    server.demand("t0ken");
    server.put(SLICES, slice("a", &["10.0.0.1"]));
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("token"), "t0ken\n").unwrap();
    std::fs::write(folder.path().join("ca.crt"), ca).unwrap();
    let surroundings = Surroundings {
        host: Some("127.0.0.1".to_owned()),
        port: Some(server.port().to_string()),
        account: folder.path().to_owned(),
    };
    let mut followed = Followed::start(service(), surroundings, PACE, folder);
    assert_eq!(followed.found().await, ["http://10.0.0.1:9090"]);
}

#[tokio::test]
async fn what_is_no_cluster_is_a_failure_that_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let mut missing = service();
    missing.kubeconfig = Some(folder.path().join("config"));
    let around = Surroundings {
        host: None,
        port: None,
        account: PathBuf::new(),
    };
    let mut followed = Followed::start(missing, around.clone(), PACE, folder);
    assert!(followed.failed().await.contains("config: No such file"));
    let mut followed = Followed::start(service(), around, PACE, tempfile::tempdir().unwrap());
    assert!(followed.failed().await.contains("give a kubeconfig"));
}
