#!/usr/bin/env bash
# The stock Java client over two groups while masters are killed with SIGKILL: failover.sh [SECONDS [KILLS [VERSION]]]
# GROUPS_OF_BROKERS=1 makes it one group. Pauses are those of a client that was told nothing, the longest for each kill.
#
# Passes if the failover program finds everything that was acknowledged, at its acknowledged place (README.md).
# Needs target/debug/trireme, or the binary that TRIREME names.
set -euo pipefail
cd "$(dirname "$0")/../.."

seconds=${1:-40}
kills=${2:-3}
version=${3:-5.3.3}
binary=${TRIREME:-target/debug/trireme}
work=$(mktemp -d)
port=$((20000 + RANDOM % 8000))

mkfifo "$work/orders"
: >"$work/program.log"
"$binary" dev --dir "$work/dev" --namesrv-port "$port" --port $((port + 10)) --groups "${GROUPS_OF_BROKERS:-2}" \
  >"$work/dev.log" 2>&1 <"$work/orders" &
dev=$!
exec 3>"$work/orders"
trap 'exec 3>&-; kill -TERM "$dev" 2>/dev/null; wait "$dev" 2>/dev/null; rm -rf "$work"' EXIT
for _ in $(seq 100); do
  grep -q ' ready: ' "$work/dev.log" && break
  kill -0 "$dev" || { cat "$work/dev.log"; exit 1; }
  sleep 0.3
done

tests/compat/run.sh --namesrv "127.0.0.1:$port" --java-version "$version" --seconds "$seconds" --rate 400 java/failover \
  > >(tee "$work/program.log") &
program=$!
# The client is built first, which downloads it on a new machine; then it creates its topic.
until grep -q '^failover: sending ' "$work/program.log"; do
  kill -0 "$program" 2>/dev/null || { echo "the client ended before it sent"; exit 1; }
  sleep 0.2
done
# The kills are spread over the middle of the load.
for _ in $(seq "$kills"); do
  sleep $((seconds / (kills + 1)))
  echo k >&3
done
status=0
wait "$program" || status=$?
grep -E ' (killed|leads|started again)' "$work/dev.log" || true
killed=$(grep -c ' killed' "$work/dev.log" || true)
if [ "$killed" -lt "$kills" ]; then
  echo "only $killed of $kills kills happened: the run proves nothing"
  exit 1
fi
grep -o 'pauses_ms=\[[^]]*\]' "$work/program.log" | tr -dc '0-9,' | tr ',' '\n' | sort -n | awk -v kills="$kills" '
  { pause[NR] = $1 }
  END {
    if (NR) printf "%d kills, %d pauses of more than 200 ms: p50 %d ms, p99 %d ms, longest %d ms\n",
      kills, NR, pause[int((NR + 1) / 2)], pause[int(NR * 0.99 + 0.99)], pause[NR]
  }'
exit "$status"
