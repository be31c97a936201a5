#!/usr/bin/env bash
# Points, camera paths and depth on ScanNet, six scenes that SLAM papers report:
#
#   bash scripts/eval_scannet.sh PROCESSED_DIR [OUTPUT_DIR] [key=value ...]
#
# PROCESSED_DIR is the output of `python -m data_process.scannet raw=DIR output=PROCESSED_DIR`, which holds every 10th
# frame. Other scenes: benchmark.scenes=[scene0707_00,...], all: benchmark.scenes=null. Started again, it goes on.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/launch_evaluation.sh"
evaluate scannet "model=slam3r_large" "$@"
