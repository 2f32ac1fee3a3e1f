#!/bin/sh
# Runs every fuzz target, or those named, for a bounded time each: run.sh SECONDS [TARGET...]
#
# libFuzzer on stable Rust: the flags below are what `cargo fuzz` passes, without a sanitizer, since there is no
# unsafe code in what is fuzzed. Starts from the bytes captured from Java; what is found stays in corpus/ for the
# next run, an input that fails in artifacts/.
set -eu
seconds=$1
shift
cd "$(dirname "$0")"
targets=${*:-$(sed -n 's/^name = "\([a-z_]*\)"$/\1/p' Cargo.toml)}

RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1"
export RUSTFLAGS
# With a target named, the flags stay away from build scripts and macros, which are not linked with libFuzzer.
triple=$(rustc -vV | sed -n 's/^host: //p')
cargo build --release --locked --target "$triple"
binaries=${CARGO_TARGET_DIR:-target}/$triple/release

# seed TARGET PATTERN: the captured vectors of that name, one file each.
seed() {
    mkdir -p "corpus/$1"
    cat ../remoting/tests/data/java-*.txt | grep "^$2" | while read -r name hex; do
        file="corpus/$1/seed_$name"
        # Octal, since printf of a plain shell knows no hex escapes.
        escaped=$(echo "$hex" | fold -w2 | while read -r byte; do printf '\\%03o' "0x$byte"; done)
        # shellcheck disable=SC2059 # the escapes are the point
        printf "$escaped" > "$file"
    done
}
seed frame frame_
seed json body_
seed stored_message stored_
seed properties text_
seed batch batch
seed register_body body_register_compressed

for target in $targets; do
    echo "fuzzing $target for $seconds s"
    mkdir -p "corpus/$target" "artifacts/$target"
    dictionary=
    if [ -f "targets/$target.dict" ]; then dictionary=-dict=targets/$target.dict; fi
    log=artifacts/$target.log
    # shellcheck disable=SC2086 # no dictionary is no argument
    if ! "$binaries/$target" "corpus/$target" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=1024 \
        -artifact_prefix="artifacts/$target/" $dictionary > "$log" 2>&1; then
        tail -n 40 "$log"
        exit 1
    fi
    grep '^Done' "$log"
done
