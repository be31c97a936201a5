#!/usr/bin/env bash
# Everything that only a GPU can tell, within 12 minutes: values, shares of the peak, frames per second.
#   scripts/gpu_check.sh [folder for the figures]
# Without a GPU it says so and does nothing; what can be told without one is in the ordinary tests (docs/speed.md).
set -euo pipefail
cd "$(dirname "$0")/.."
PYTHON=.venv/bin/python
[ -x "$PYTHON" ] || PYTHON=python
OUT=${1:-results/gpu_check}
if ! "$PYTHON" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())' 2>/dev/null; then
    echo "gpu_check: torch sees no CUDA device here; nothing was checked"
    exit 0
fi
mkdir -p "$OUT"
failed=()
# Every step has seconds of its own, together 12 minutes; one that fails or takes too long does not stop the others.
step() {
    local seconds=$1 name=$2
    shift 2
    echo "== $name"
    local start=$SECONDS
    timeout "$seconds" "$@" 2>&1 | tee "$OUT/$name.log" || failed+=("$name")
    echo "== $name: $((SECONDS - start)) s"
}
profile() { # the sizes, then further settings
    local size=$1
    shift
    "$PYTHON" scripts/profile_speed.py device=cuda "sizes=[$size]" "output=$OUT/$size.json" "$@"
}
export PYTHON OUT
export -f profile
# Tests marked gpu: gsplat against our tiles, reconstruction, training and refinement against the CPU.
step 240 tests "$PYTHON" -m pytest -q -m gpu tests
step 150 profile_tiny bash -c 'profile tiny "stages=[peak,encode,i2p,retrieval,l2w,pipeline,flatness,rasterizer]" \
    "workload.flat_at=[50,230]"'
step 180 profile_large bash -c 'profile large "stages=[peak,encode,i2p,retrieval,l2w,pipeline,precision]"'
# Whole runs with the shipped weights: frames per second, seconds per stage, peak memory are in each summary.
step 60 reconstruct "$PYTHON" scripts/reconstruct.py source=folder source.path=common/app/assets/sample run.device=cuda \
    "output=$OUT/reconstruct" overwrite=true
step 60 render "$PYTHON" scripts/render.py source=folder source.path=common/app/assets/sample run.device=cuda "output=$OUT/render" \
    overwrite=true
if [ ${#failed[@]} -gt 0 ]; then
    echo "gpu_check: failed or too slow: ${failed[*]} (logs in $OUT)"
    exit 1
fi
echo "gpu_check: all of it passed in $SECONDS s; figures and logs in $OUT"
