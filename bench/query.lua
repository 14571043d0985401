-- What Grafana sends to a Prometheus: a form.
wrk.method = "POST"
wrk.body = "query=sum(rate(node_cpu_seconds_total%5B5m%5D))&start=1700000000&end=1700003600&step=15"
wrk.headers["Content-Type"] = "application/x-www-form-urlencoded"
wrk.headers["X-Grafana-Org-Id"] = "1"
