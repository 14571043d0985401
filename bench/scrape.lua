-- wrk sends an origin-form request; a scrape through a proxy_url is in absolute form.
local target = os.getenv("BENCH_TARGET")
function request()
  local headers = { ["X-Prometheus-Scrape-Timeout-Seconds"] = "10" }
  return wrk.format("GET", target .. wrk.path, headers)
end
