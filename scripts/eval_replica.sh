#!/usr/bin/env bash
# SLAM3R's published evaluation on Replica, all eight scenes:
#
#   bash scripts/eval_replica.sh REPLICA_DIR [OUTPUT_DIR] [key=value ...]
#
# REPLICA_DIR holds cam_params.json and office0 .. room2 (the renders of iMAP and NICE-SLAM), or is the output of
# `python -m data_process.replica`. Started again, it goes on where it was. Takes about 5 GB of disk per scene meanwhile.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/launch_evaluation.sh"
evaluate replica "model=slam3r_large reconstruction=replica" "$@"
