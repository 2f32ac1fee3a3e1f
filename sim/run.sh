#!/usr/bin/env bash
# Builds and runs the simulation: sim/run.sh --seed 7, sim/run.sh --seeds 1000. `--help` lists the rest.
set -euo pipefail
cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-target}/sim
# tokio_unstable: turmoil seeds tokio's own choices. rustix_use_libc: its calls can be simulated.
RUSTFLAGS="--cfg trireme_sim --cfg tokio_unstable --cfg rustix_use_libc" \
  cargo build --quiet --locked --target-dir "$target" --profile sim -p trireme-sim
exec "$target/sim/trireme-sim" "$@"
