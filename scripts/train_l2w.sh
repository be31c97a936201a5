#!/usr/bin/env bash
# Trains SLAM3R Local-to-World as published: 200 epochs on 8 GPUs, float32 with TF32, from DUSt3R.
#
#   SCANNETPP=DIR ARIA=DIR CO3D=DIR [DUST3R_WEIGHTS=FILE] bash scripts/train_l2w.sh [key=value ...]
#   bash scripts/train_l2w.sh debug=true        two steps on procedural data, without GPU, data or weights
#
# The variables, signals and SLURM are those of scripts/train_i2p.sh. The image tokens come from DUSt3R's encoder, which
# is also that of the trained Image-to-Points, where it is frozen. Results: outputs/l2w.
set -euo pipefail
cd "${SLURM_SUBMIT_DIR:-$(dirname "${BASH_SOURCE[0]}")/..}" # SLURM runs a copy of this file
source scripts/launch_training.sh

is_debug "$@" || need_slam3r_inputs
bash scripts/setup.sh
train l2w "$@"
