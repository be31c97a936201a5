#!/usr/bin/env bash
# SLAM3R's published evaluation on Replica, all eight scenes:
#   scripts/eval_replica.sh REPLICA_DIR [OUTPUT_DIR] [key=value ...]
# REPLICA_DIR holds cam_params.json and office0 .. room2 (the renders of iMAP and NICE-SLAM), or is the output of
# `python -m data_process.replica`. Started again, it goes on where it was. Takes about 5 GB of disk per scene meanwhile.
set -euo pipefail
if [[ $# -lt 1 || ! -d "$1" ]]; then
  echo "usage: scripts/eval_replica.sh REPLICA_DIR [OUTPUT_DIR] [key=value ...]" >&2
  exit 2
fi
data="$(cd "$1" && pwd)"
output="${2:-results/replica}"
shift $(( $# > 1 ? 2 : 1 ))

cd "$(dirname "${BASH_SOURCE[0]}")/.."  # a relative OUTPUT_DIR counts from here
python=.venv/bin/python
[[ -x $python ]] || python=python
"$python" scripts/evaluate.py benchmark=replica benchmark.path="$data" output="$output" \
  model=slam3r_large reconstruction=replica "$@"
