#!/usr/bin/env bash
# Everything that wants an NVIDIA GPU, in one call, on a machine that has one and no cargo.
#
#   benches/gpu.sh pack target/gpu      here, with cargo: the binaries, scripts and fixtures
#   bash target/gpu/gpu.sh [RECORD]     there, with the driver, the CUDA toolkit's headers, and
#                                       Python with torch and transformers
#
# The second call proves the backend (conformance suite, one experiment on flex and cuda), measures
# the loss against PyTorch and the peak of its matrix products, an encoder and a training step of
# BERT-base's and MiniLM's shape against PyTorch, and trains on SQuAD where SAMTONE_DATA (or
# data, where docs/experiments.md puts it) holds it. Results go to RECORD, gpu-record if absent.
#
# It has not been run: no GPU was at hand.
set -euo pipefail

if [ "${1:-}" = pack ]; then
    out=$(mkdir -p "$2" && cd "$2" && pwd)
    cd "$(dirname "$0")/.."
    export CUDARC_CUDA_VERSION=${CUDARC_CUDA_VERSION:-13000}
    cargo build --release --package samtone --features cuda
    suite=$(cargo test --release --package samtone-conformance --features cuda --test conformance --no-run \
        --message-format json | grep -o '"executable":"[^"]*conformance[^"]*"' | cut -d'"' -f4)
    target=$(cargo metadata --no-deps --format-version 1 | grep -o '"target_directory":"[^"]*"' | cut -d'"' -f4)
    mkdir -p "$out/crates/samtone-model/tests" "$out/home"
    cp "$target/release/samtone" "$out/samtone"
    cp "$suite" "$out/suite"
    cp -r crates/samtone-model/tests/fixtures "$out/crates/samtone-model/tests/"
    cp benches/gpu.sh benches/peers/gpu.py benches/experiments/squad.toml "$out/"
    data=${SAMTONE_DATA:-data}
    for set in squad_reqa_train squad_reqa; do
        if [ -d "$data/$set" ]; then mkdir -p "$out/data" && cp -r "$data/$set" "$out/data/"; fi
    done
    du -sh "$out"
    exit
fi

here=$(cd "$(dirname "$0")" && pwd)
record=$(mkdir -p "${1:-gpu-record}" && cd "${1:-gpu-record}" && pwd)
cd "$here"
failed=0

# part NAME COMMAND...: one part of the record; a part that fails does not keep the others from it.
part() {
    local name=$1
    shift
    echo "── $name"
    if ! "$@" > "$record/$name.txt" 2> "$record/$name.log"; then
        echo "failed: see $record/$name.log"
        failed=1
    fi
    tail -n 20 "$record/$name.txt"
}

part device nvidia-smi
part conformance env SAMTONE_BACKEND=cuda CARGO_MANIFEST_DIR="$here/home" ./suite --test-threads 1
part backends ./samtone backends --backends flex,cuda --out "$record/backends"
part loss python3 gpu.py loss ./samtone 16384x768 65536x768
for shape in minilm bert-base; do
    part "train-$shape" python3 gpu.py train ./samtone "$shape"
    part "encode-$shape" python3 gpu.py encode ./samtone "$shape"
done
if [ -d data/squad_reqa ]; then
    part squad ./samtone train --config squad.toml --backend cuda --run-dir "$record/squad"
fi
exit $failed
