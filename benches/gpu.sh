#!/usr/bin/env bash
# Everything that wants an NVIDIA GPU, in one call of under nine minutes, on a machine that has one and
# no cargo.
#
#   benches/gpu.sh pack FOLDER                   here, with cargo: gpu.sh and gpu.tgz
#   bash FOLDER/gpu.sh [RECORD] [PART...]        there, with the driver, a CUDA toolkit with its headers,
#                                                and Python with torch and transformers
#
# The parts run in order of worth, each with a limit of its own, until GPU_SH_SECONDS (530) are over;
# named ones alone where some are named, to mend what failed:
#
#   device       what the machine is
#   conformance  the suite on cuda
#   loss-16384   the loss beside PyTorch and the peak of a product: loss-65536 likewise
#   minilm       training steps and encoding beside PyTorch: bert-base likewise
#   wgpu         the suite on wgpu, and train-wgpu a training
#   squad        a training on SQuAD, where SAMTONE_DATA (or data) held it when this was packed
#
# RECORD (gpu-record) gets three files: results.md, with every row as it is measured, log.txt, and
# runs.tgz, the folders of the trainings without their weights.
#
# GPU_SH_TINY=1, in both calls, tries the whole on flex, tiny and unoptimised, without a GPU: so was it
# tried. What is packed for a GPU, and anything on one, has not been run.
set -euo pipefail

tiny=${GPU_SH_TINY:-}
here=$(cd "$(dirname "$0")" && pwd)

# What travels, with a checkout of this repository beside it, is held to 64 MiB.
most=$((56 << 20))

pack() {
    local out=$1 features=(--features cuda,wgpu) profile=release built data staging target suite size
    mkdir -p "$out"
    out=$(cd "$out" && pwd)
    cd "$here/.."
    if [ -n "$tiny" ]; then
        features=()
        profile=dev
    fi
    export CUDARC_CUDA_VERSION=${CUDARC_CUDA_VERSION:-13000}
    built=(--profile "$profile" "${features[@]}")
    target=$(cargo metadata --no-deps --format-version 1 | grep -o '"target_directory":"[^"]*"' | cut -d'"' -f4)
    target=$target/${profile/dev/debug}
    cargo build --package samtone "${built[@]}"
    suite=$(cargo test --package samtone-conformance "${built[@]}" --test conformance --no-run \
        --message-format json | grep -o '"executable":"[^"]*conformance[^"]*"' | cut -d'"' -f4)
    staging=$(mktemp -d)
    # The suite finds the fixtures beside the folder that it is told.
    mkdir -p "$staging/crates/samtone-model/tests" "$staging/home" "$staging/data"
    cp -r crates/samtone-model/tests/fixtures "$staging/crates/samtone-model/tests/"
    cp "$target/samtone" "$staging/samtone"
    cp "$suite" "$staging/suite"
    strip "$staging/samtone" "$staging/suite"
    cp benches/peers/gpu.py benches/experiments/squad.toml "$staging/"
    data=${SAMTONE_DATA:-data}
    for set in squad_reqa_train squad_reqa; do
        if [ -d "$data/$set" ]; then cp -r "$data/$set" "$staging/data/"; fi
    done
    if [ -z "$tiny" ]; then
        # Vulkan's loader, and what NVIDIA's driver for it asks for.
        mkdir "$staging/vulkan"
        (cd "$staging/vulkan" &&
            apt-get download -q libvulkan1 libegl1 libglvnd0 libopengl0 libgl1 libglx0 libgles2) ||
            echo "without Vulkan's loader: the machine must have one" >&2
    fi
    tar -C "$staging" -czf "$out/gpu.tgz" .
    cp benches/gpu.sh "$out/gpu.sh"
    (cd "$staging" && du -sh -- *)
    rm -r "$staging"
    size=$(stat -c %s "$out/gpu.tgz")
    echo "$out/gpu.tgz: $size bytes"
    if [ "$size" -gt "$most" ]; then
        echo "too much to travel: $most bytes at most" >&2
        exit 1
    fi
}

if [ "${1:-}" = pack ]; then
    pack "${2:?pack wants a folder}"
    exit
fi

record=${1:-gpu-record}
mkdir -p "$record"
record=$(cd "$record" && pwd)
asked=" ${*:2} "
budget=${GPU_SH_SECONDS:-530}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
tar -C "$work" -xzf "$here/gpu.tgz"
cd "$work"
mkdir runs
failed=0
export PYTHONUNBUFFERED=1 RUST_BACKTRACE=0

say() { printf '%s\n' "$@" | tee -a "$record/results.md"; }

# part NAME SECONDS COMMAND...: a part, with its limit; one that fails does not keep the others from it.
part() {
    local name=$1 limit=$2 start=$SECONDS left=$((budget - SECONDS)) code=0
    shift 2
    if [ "$asked" != "  " ] && [[ "$asked" != *" $name "* ]]; then return; fi
    say "" "## $name" ""
    if [ "$left" -lt "$limit" ]; then limit=$left; fi
    if [ "$limit" -lt 5 ]; then
        say "no time left"
        failed=1
        return
    fi
    echo "── $name" >> "$record/log.txt"
    timeout --kill-after 5 "$limit" "$@" 2>> "$record/log.txt" | tee -a "$record/results.md" || code=$?
    say "" "$name: exit code $code after $((SECONDS - start)) s of $limit"
    if [ "$code" != 0 ]; then
        failed=1
        tail -n 12 "$record/log.txt" | cut -c 1-400
    fi
    # Weights stay here.
    tar --exclude '*.safetensors' --exclude 'checkpoint*' --exclude '*.bin' -czf "$record/runs.tgz" runs
}

# Where CubeCL finds CUDA's headers, and the loader NVRTC and Vulkan.
find_toolkit() {
    local packages nvcc folder
    packages=$(python3 -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
    nvcc=$(command -v nvcc || true)
    for folder in "${CUDA_PATH:-}" "${nvcc%/bin/nvcc}" /usr/local/cuda "$packages/nvidia/cu13"; do
        if [ -n "$folder" ] && [ -e "$folder/include/cuda_runtime.h" ]; then
            export CUDA_PATH=$folder
            break
        fi
    done
    export LD_LIBRARY_PATH=${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}${CUDA_PATH:-}/lib64:$packages/nvidia/cu13/lib
    if ! ldconfig -p | grep -q libvulkan; then
        for folder in vulkan/*.deb; do
            if [ -e "$folder" ]; then dpkg -x "$folder" vulkan; fi
        done
        LD_LIBRARY_PATH=$LD_LIBRARY_PATH:$work/vulkan/usr/lib/x86_64-linux-gnu
    fi
    for folder in /etc /usr/share /usr/local/nvidia/share; do
        if [ -z "${VK_DRIVER_FILES:-}" ] && [ -e "$folder/vulkan/icd.d/nvidia_icd.json" ]; then
            export VK_DRIVER_FILES=$folder/vulkan/icd.d/nvidia_icd.json
        fi
    done
}

# What one process compiled another finds.
printf '[compilation]\ncache = { file = "%s/kernels" }\n' "$work" > cubecl.toml

# The suite on a backend: the parts that run kernels of this project first.
suite() {
    local run=(env SAMTONE_BACKEND="$1" CARGO_MANIFEST_DIR="$work/home" ./suite --test-threads 1) code=0
    "${run[@]}" losses:: towers:: || code=1
    "${run[@]}" --skip losses:: --skip towers:: --skip webgpu_limits || code=1
    return $code
}
export -f suite
export work

gpu=cuda other=wgpu sizes=(16384x768 65536x768) flags=() quick=(train.steps=100) squad=()
if [ -n "$tiny" ]; then
    gpu=flex other=flex sizes=(256x32 300x32) flags=(--tiny) quick=(train.steps=4 train.warmup=1)
    squad=(train.steps=4 train.warmup=1 train.eval_every=2 train.checkpoint_every=2 model.encoder.hidden=32)
else
    find_toolkit
fi
set_all() { for pair in "$@"; do printf -- '--set\n%s\n' "$pair"; done; }
mapfile -t quick < <(set_all "${quick[@]}")
mapfile -t squad < <(set_all "${squad[@]}")

part device 20 bash -c 'nvidia-smi || true; nvcc --version || true; nproc; free -g; ldd --version | head -1
    echo "CUDA_PATH=${CUDA_PATH:-} VK_DRIVER_FILES=${VK_DRIVER_FILES:-}"; ls vulkan/usr/lib/*/libvulkan* || true'
part conformance 110 bash -c "suite $gpu"
part loss-16384 80 python3 gpu.py ./samtone loss "${sizes[0]}" "${flags[@]}"
part loss-65536 90 python3 gpu.py ./samtone loss "${sizes[1]}" "${flags[@]}"
part minilm 70 python3 gpu.py ./samtone encoder minilm "${flags[@]}"
part bert-base 80 python3 gpu.py ./samtone encoder bert-base "${flags[@]}"
part wgpu 60 bash -c "suite $other"
part train-wgpu 40 ./samtone train --backend "$other" --run-dir runs/wgpu "${quick[@]}"
if [ -d data/squad_reqa_train ]; then
    part squad 150 ./samtone train --config squad.toml --backend "$gpu" --run-dir runs/squad "${squad[@]}"
fi
say "" "$SECONDS s in all"
exit $failed
