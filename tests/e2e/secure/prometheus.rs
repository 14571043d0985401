//! What a real Prometheus can send.

use adit_tests::prometheus::Prometheus;
use adit_tests::target::answers::{metric, ok};
use adit_tests::target::{Ear, Target};

use super::{House, TLS, USERS};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prometheus_scrapes_by_an_https_proxy_url_with_its_user() {
    let house = House::new(&format!("{TLS}{USERS}"));
    let target = Target::start(ok(metric("plain")));
    let secret = house.authority.server(&["localhost"]);
    let secret = Target::at(vec![Ear::tls(secret)], ok(metric("secret")));
    let proxy = house.proxy(&[]).await;
    let plain_flag = format!("--target=pi:9100=http://{}", target.address());
    let tls_flag = format!("--target=localhost:9443=https://{}", secret.address());
    let _client = house.client(&proxy, &[&plain_flag, &tls_flag]).await;
    let port = proxy.address.port();
    let ca = house.authority.ca_file();
    let ca = ca.display();
    let url = |user: &str| format!("https://{user}@localhost:{port}");
    let (right, wrong) = (url("prometheus:pw-of-prometheus"), url("prometheus:wrong"));
    let prometheus = Prometheus::start(&format!(
        "- job_name: plain\n  proxy_url: {right}\n  tls_config: {{ca_file: {ca}}}\n  \
         static_configs: [{{targets: ['pi:9100']}}]\n\
         - job_name: tls\n  scheme: https\n  proxy_url: {right}\n  tls_config: {{ca_file: {ca}}}\n  \
         static_configs: [{{targets: ['localhost:9443']}}]\n\
         - job_name: path\n  scheme: https\n  metrics_path: /scrape/http/pi:9100/metrics\n  \
         basic_auth: {{username: prometheus, password: pw-of-prometheus}}\n  \
         tls_config: {{ca_file: {ca}}}\n  static_configs: [{{targets: ['localhost:{port}']}}]\n\
         - job_name: sd\n  scheme: https\n  \
         basic_auth: {{username: prometheus, password: pw-of-prometheus}}\n  \
         tls_config: {{ca_file: {ca}}}\n  http_sd_configs:\n  \
         - url: https://localhost:{port}/sd/targets?style=path\n    \
         basic_auth: {{username: prometheus, password: pw-of-prometheus}}\n    \
         tls_config: {{ca_file: {ca}}}\n  relabel_configs:\n  \
         - {{source_labels: [instance], regex: 'pi:9100', action: keep}}\n\
         - job_name: wrong\n  proxy_url: {wrong}\n  tls_config: {{ca_file: {ca}}}\n  \
         static_configs: [{{targets: ['pi:9100']}}]\n\
         - job_name: wrong-tls\n  scheme: https\n  proxy_url: {wrong}\n  \
         tls_config: {{ca_file: {ca}}}\n  static_configs: [{{targets: ['localhost:9443']}}]\n\
         - job_name: nobody\n  scheme: https\n  metrics_path: /scrape/http/pi:9100/metrics\n  \
         tls_config: {{ca_file: {ca}}}\n  static_configs: [{{targets: ['localhost:{port}']}}]"
    ))
    .await;
    for job in ["plain", "tls", "path", "sd"] {
        prometheus.is_up(job).await;
    }
    for (job, says) in [
        ("wrong", "407"),
        ("wrong-tls", "the credentials are wrong"),
        ("nobody", "401"),
    ] {
        let error = prometheus.is_down(job).await;
        assert!(error.contains(says), "{job}: {error}");
    }
    for request in target.requests() {
        for field in ["proxy-authorization", "authorization"] {
            assert_eq!(request.field(field), None, "{field} is ours");
        }
    }
}
