#!/usr/bin/env bash
# Trains SLAM3R Image-to-Points as published: both stages, on 8 GPUs, float32 with TF32, from DUSt3R.
#
#   SCANNETPP=DIR ARIA=DIR CO3D=DIR [DUST3R_WEIGHTS=FILE] bash scripts/train_i2p.sh [key=value ...]
#   bash scripts/train_i2p.sh debug=true        two steps of each stage on procedural data, without GPU, data or weights
#
# SCANNETPP, ARIA, CO3D  folders written by python -m data_process.{scannetpp,aria,co3d}; default data/scannetpp ...
# DUST3R_WEIGHTS         DUSt3R ViT-L 224 linear: hub id (default naver/DUSt3R_ViTLarge_BaseDecoder_224_linear), folder, file
# NPROC                  GPUs of this machine (default: all). A total other than 8 changes the batch: it says how to correct that
# NNODES, NODE_RANK, MASTER_ADDR, MASTER_PORT   several machines: run this on each, with its NODE_RANK from 0
#
# Run it again and it goes on from the newest checkpoint. SIGTERM or SIGUSR1 saves and exits with 75; under SLURM the
# job is then queued again: sbatch --signal=B:USR1@600 --requeue --open-mode=append scripts/train_i2p.sh (one machine;
# for several, srun with trainer=slurm: see configs/trainer/slurm.yaml). Half the memory and about twice the speed:
# trainer.precision=bf16-mixed. Results: outputs/i2p_stage1 and outputs/i2p_retrieval (weights/, tensorboard/, ...).
set -euo pipefail
cd "${SLURM_SUBMIT_DIR:-$(dirname "${BASH_SOURCE[0]}")/..}" # SLURM runs a copy of this file
source scripts/launch_training.sh

is_debug "$@" || need_slam3r_inputs
bash scripts/setup.sh
train i2p_stage1 "$@"
train i2p_retrieval "$@"
