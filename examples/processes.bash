# For the examples that run: processes that end with the script, free ports, waiting. Sourced.

work=$(mktemp -d)
processes=()
names=()
stop() {
  trap - EXIT INT TERM
  [[ ${#processes[@]} -eq 0 ]] || kill "${processes[@]}" 2>/dev/null || true
  wait 2>/dev/null || true
  rm -rf "$work"
}
trap stop EXIT
trap 'echo; exit 0' INT TERM

# The first port from $1 on that nobody listens on.
free_port() {
  local port=$1
  while (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do port=$((port + 1)); done
  echo "$port"
}

# Starts a program with its output in a file: start NAME COMMAND…
start() {
  local name=$1
  shift
  # In a session of its own: Ctrl-C is for this script, which then stops what it started; and if
  # the script is killed itself, the kernel does.
  setsid setpriv --pdeathsig TERM -- "$@" >"$work/$name.log" 2>&1 &
  processes+=($!)
  names+=("$name")
}

# Waits for a URL of a program that was started to answer: await NAME URL
await() {
  local at pid
  for at in "${!names[@]}"; do
    if [[ ${names[at]} == "$1" ]]; then pid=${processes[at]}; fi
  done
  for _ in $(seq 300); do
    # It may have lost its port to another, who would answer.
    kill -0 "$pid" 2>/dev/null || break
    curl -fsS -o /dev/null "$2" 2>/dev/null && return
    sleep 0.1
  done
  echo "$1 does not answer at $2; it says:" >&2
  tail -n 5 "$work/$1.log" >&2
  exit 1
}

# The programs: those in ADIT_BIN, or built now.
bin=${ADIT_BIN:-}
if [[ -z $bin ]]; then
  cargo build --bins
  bin=target/debug
fi
