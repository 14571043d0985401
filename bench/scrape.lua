-- wrk sends an origin-form request; a scrape through a proxy_url is in absolute form.
local target = os.getenv("BENCH_TARGET")
local basic = os.getenv("BENCH_BASIC")
function request()
  local headers = { ["X-Prometheus-Scrape-Timeout-Seconds"] = "10" }
  if basic then headers["Proxy-Authorization"] = basic end
  return wrk.format("GET", target .. wrk.path, headers)
end
