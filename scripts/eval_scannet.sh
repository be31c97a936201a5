#!/usr/bin/env bash
# Points, camera paths and depth on ScanNet, six scenes that SLAM papers report:
#   scripts/eval_scannet.sh PROCESSED_DIR [OUTPUT_DIR] [key=value ...]
# PROCESSED_DIR is the output of `python -m data_process.scannet raw=DIR output=PROCESSED_DIR`, which holds every 10th
# frame. Other scenes: benchmark.scenes=[scene0707_00,...], all: benchmark.scenes=null. Started again, it goes on.
set -euo pipefail
if [[ $# -lt 1 || ! -d "$1" ]]; then
  echo "usage: scripts/eval_scannet.sh PROCESSED_DIR [OUTPUT_DIR] [key=value ...]" >&2
  exit 2
fi
data="$(cd "$1" && pwd)"
output="${2:-results/scannet}"
shift $(( $# > 1 ? 2 : 1 ))

cd "$(dirname "${BASH_SOURCE[0]}")/.."  # a relative OUTPUT_DIR counts from here
python=.venv/bin/python
[[ -x $python ]] || python=python
"$python" scripts/evaluate.py benchmark=scannet benchmark.path="$data" output="$output" model=slam3r_large "$@"
