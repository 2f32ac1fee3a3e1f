#!/usr/bin/env bash
# Wakes each planted defect in turn, and sees whether `trireme chaos` finds it. Needs root. Without arguments all; with
# arguments, these. A table comes out: how long it took, and by which invariant it was found.
set -euo pipefail
cd "$(dirname "$0")/.."
out=${OUT:-$(mktemp -d)}
mkdir -p "$out"
tries=${TRIES:-5}
target=target/planted
cargo build --quiet --features planted --target-dir "$target"

# Defect, mix, faults of it, minutes of one try.
defects='
log-not-synced          power    power_cut        0.5
sync-error-ignored      power    sync_fails:_all  0.5
vote-forgotten          kill     kill             0.5
tail-cut-too-short      kill     kill:_all        0.5
tail-not-truncated      network  isolated         1.0
ends-from-anybody       none     -                0.2
lease-not-checked       network  isolated         0.7
positions-not-replicated kill    kill:_leader     0.5
offsets-of-an-old-term  pause    pause:_leader    1.0
unknown-told-as-refused kill     kill:_leader     0.5
unknown-sent-again      kill     kill:_leader     0.5
long-poll-skips         none     -                0.2
pull-leaves-out         none     -                0.5
ends-with-its-leader    kill     kill:_leader     0.3
old-store-used          members  older            0.3
checkpoint-without-positions members replaced      1.0
trims-too-much          none     -                1.0
config-from-anybody     network  isolated         0.5
delayed-early           none     -                0.3
delayed-twice           none     -                0.3
locks-not-kept          kill     kill:_leader     1.0
dead-too-early          none     -                0.3
given-back-lost         none     -                0.3
'
missed=0
printf '%-28s %-9s %7s  %s\n' defect mix seconds 'first violation'
while read -r defect mix only minutes; do
  [ -n "$defect" ] || continue
  if [ $# -gt 0 ] && ! printf '%s\n' "$@" | grep -qx "$defect"; then continue; fi
  only=${only//_/ }
  [ "$only" = - ] && only=
  began=$SECONDS found=
  for try in $(seq "$tries"); do
    log="$out/$defect-$try.log" code=0
    PLANTED=$defect "$target/debug/trireme" chaos --seed "$try" --mix "$mix" --only "$only" --minutes "$minutes" \
      --rate "${RATE:-1000}" --out "$out/$defect" >"$log" 2>&1 || code=$?
    rm -rf "$out/$defect"
    if [ "$code" = 1 ] && grep -q '^VIOLATION' "$log"; then
      found=$(grep -m1 '^VIOLATION' "$log" | cut -d' ' -f2- | cut -c1-140)
      break
    fi
  done
  printf '%-28s %-9s %7s  %s\n' "$defect" "$mix" "$((SECONDS - began))" "${found:-NOT FOUND in $tries tries}"
  [ -n "$found" ] || missed=$((missed + 1))
done <<<"$defects"
echo "$missed missed; logs in $out"
[ "$missed" = 0 ]
