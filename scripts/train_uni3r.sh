#!/usr/bin/env bash
# Trains Uni3R as published, on 8 GPUs, float32 with TF32, from VGGT.
#
#   [VIEWS=2|8|16|any] SCANNET=DIR SCANNETPP=DIR SCANNET_TEST=DIR LSEG_WEIGHTS=FILE bash scripts/train_uni3r.sh [key=value ...]
#   bash scripts/train_uni3r.sh debug=true      two steps on procedural data, without GPU, data or weights
#
# VIEWS                  context views of the recipe, default 2: experiment uni3r_2view, uni3r_8view or uni3r_16view; any
#                        for uni3r_arbitrary, one network for 2, 4 and 8
# SCANNET, SCANNETPP, SCANNET_TEST   folders written by python -m data_process.{scannet,scannetpp,lsm_scannet_test};
#                        default data/scannet and so on
# LSEG_WEIGHTS           LSeg's published file demo_e200.ckpt: the teacher of the features
# VGGT_WEIGHTS           start and pointmap teacher: hub id (default facebook/VGGT-1B), folder or file
# The other variables, signals and SLURM are those of scripts/train_i2p.sh. Results: outputs/EXPERIMENT.
set -euo pipefail
cd "${SLURM_SUBMIT_DIR:-$(dirname "${BASH_SOURCE[0]}")/..}" # SLURM runs a copy of this file
source scripts/launch_training.sh

views="${VIEWS:-2}"
recipe="uni3r_${views}view"
[ "$views" != any ] || recipe=uni3r_arbitrary
[ -f "configs/experiment/$recipe.yaml" ] || fail "no recipe for VIEWS=$views: choose 2, 8, 16 or any"
if ! is_debug "$@"; then
    need_data SCANNET scannet
    need_data SCANNETPP scannetpp
    need_data SCANNET_TEST lsm_scannet_test
    LSEG_WEIGHTS="${LSEG_WEIGHTS:-checkpoints/demo_e200.ckpt}"
    need_weights LSEG_WEIGHTS
    need_weights VGGT_WEIGHTS
fi
bash scripts/setup.sh train,dev,uni3r
train "$recipe" "$@"
