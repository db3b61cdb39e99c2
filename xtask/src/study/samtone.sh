#!/bin/sh
# In the place of samtone in the tests of `cargo xtask study`: `train` with six queries, each at 0.25
# under `in-batch`, at 0.5 under `samtone` with seed 0 and at 0.6 with seed 1. Under `broken` no loss
# is finite, and `lost` is nothing.
for word in "$@"; do
    case "$last$word" in
        --run-dir*) folder=$word ;;
        --setloss.preset=*) preset=${word#*=} ;;
        --setseed=*) seed=${word#*=} ;;
    esac
    last=$word
done
if test "$preset" = lost; then
    echo "error: there is no such loss" >&2
    exit 1
fi
mkdir -p "$folder/evaluations"
cd "$folder" || exit 1
echo '{"inputs": {"data": "ab"}, "chunk": 8, "recomputes": false}' > identity.json
if test "$preset" = broken; then
    touch non-finite-batch.json
    echo "step 2: loss 7.1" >&2
    echo "error: step 3: no finite loss" >&2
    exit 1
fi
case $preset$seed in
    in-batch*) value=0.25 ;;
    samtone0) value=0.5 ;;
    samtone1) value=0.6 ;;
esac
echo '{"samtone": "0.1.0", "backend": "flex", "total_seconds": 1.5}' > environment.json
echo '{"bm25": {"mrr@10": 0.125}}' > summary.json
each=$(for query in 1 2 3 4 5 6; do echo "\"q$query\": {\"mrr@10\": $value},"; done)
echo "{\"queries\": 6, \"metrics\": {\"mrr@10\": $value}, \"qrels\": \"00ab\", \"per_query\": {${each%,}}}" \
    > evaluations/test.json
