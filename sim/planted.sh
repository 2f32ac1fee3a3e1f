#!/usr/bin/env bash
# Wakes each planted defect in turn, and sees whether the simulation finds it: sim/planted.sh [defect]. A table comes out:
# with how many seeds, and by which invariant it was found.
set -euo pipefail
cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-target}/sim-planted
RUSTFLAGS="--cfg trireme_sim --cfg tokio_unstable --cfg rustix_use_libc" \
  cargo build --quiet --locked --target-dir "$target" --profile sim -p trireme-sim --features planted
program=$target/sim/trireme-sim
defects=${*:-$(sed -n 's/^ *[A-Z][A-Za-z]* = "\(.*\)",$/\1/p' planted/src/lib.rs)}
missed=0
printf '%-28s %6s %8s  %s\n' defect seed seconds 'first violation'
for defect in $defects; do
  began=$SECONDS found='' seed=0
  while [ "$seed" -lt "${SEEDS:-300}" ] && [ -z "$found" ]; do
    seed=$((seed + 1)) code=0
    words=$(PLANTED=$defect timeout 120 "$program" --seed "$seed" 2>&1) || code=$?
    [ "$code" = 0 ] || found=$(sed -n 2p <<<"$words" | cut -c1-110)
    [ "$code" = 0 ] || found=${found:-"ends with $code"}
  done
  printf '%-28s %6s %8s  %s\n' "$defect" "$seed" "$((SECONDS - began))" "${found:-NOT FOUND}"
  [ -n "$found" ] || missed=$((missed + 1))
done
echo "$missed missed"
[ "$missed" = 0 ]
