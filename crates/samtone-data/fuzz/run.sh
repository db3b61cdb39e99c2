#!/bin/sh
# Runs every fuzz target, or those named, for SECONDS each, two at a time: run.sh SECONDS [TARGET...]
#
# Needs no nightly compiler and no cargo-fuzz: the coverage flags are the stable compiler's own. New
# inputs go to found/, failures to artifacts/; seeds/ holds the inputs worth keeping.
set -eu
cd "$(dirname "$0")"
seconds=$1
shift
[ $# -gt 0 ] || set -- beir pairs columns import ms_marco squad trec knowledge compressed cache
host=$(rustc -vV | sed -n 's/host: //p')
export RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1"
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-target}"
cargo build --release --bins --target "$host"
mkdir -p artifacts
printf '%s\n' "$@" | xargs -P 2 -I '{}' sh -c "
    mkdir -p found/{}
    '$CARGO_TARGET_DIR/$host/release/{}' found/{} seeds/{} -max_total_time=$seconds -timeout=10 \
        -rss_limit_mb=1024 -malloc_limit_mb=512 -max_len=4096 -print_final_stats=1 \
        -artifact_prefix=artifacts/{}- > artifacts/{}.log 2>&1 || echo '{} failed: artifacts/{}.log'
    echo '{}:' \$(grep -o 'stat::[a-z_]*: *[0-9]*' artifacts/{}.log | sed 's/stat:://')
"
