#!/usr/bin/env bash
# Trains uni3r_tiny from slam3r_tiny's Image-to-Points, on the processor: the commands that made checkpoints/uni3r_tiny, in
# their order. Run one by one, never yet as one piece; about two hours of one core, and 80 minutes for the last run. Rooms are
# those of scripts/train_tiny.sh, in data/, and new ones for the last run; runs go to outputs/. Arguments are added to
# every command, e.g. seed=1. The first run began with an earlier slam3r_tiny, that of tiny_retrieval in
# scripts/train_tiny.sh, the last one with the present one.
#
# The shipped weights saw interruptions that this script writes as steps: the first three runs were stopped at 400, 600 and
# 500 steps of longer schedules; the last one began with a schedule of 1500 steps and the first 640 rooms, and went on from
# step 320 as here.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bash scripts/setup.sh
train() { OMP_NUM_THREADS=1 .venv/bin/python scripts/train.py experiment=uni3r_tiny threads=1 "$@"; }
optimizer="objective.optimizer"
last() { echo "network.start=outputs/$1/weights objective.rendering.raise_sh_every=1"; }
shares="objective.class_weights=[0.65,1.0,1.75,1.7,2.15,2.8,1.85,0.75]" # of pixels in rooms, to the power of -1/2

train objective.rendering.background=black trainer.max_steps=400 "$@"
train trainer=cpu_ranks $(last uni3r_tiny) output=outputs/uni3r_tiny_2 objective.rendering.background=black \
    $optimizer.learning_rate=7e-4 $optimizer.warmup_steps=20 trainer.max_steps=600 "$@"
train $(last uni3r_tiny_2) output=outputs/uni3r_tiny_3 objective.weights.feature=0.8 $optimizer.learning_rate=8e-4 \
    +data.seed=31 +data.train.seed=31 data.epoch_windows=1000 trainer.max_steps=500 "$@"

# Features and points of the context alone, nothing rendered: what recognition lacked was samples.
train $(last uni3r_tiny_3) output=outputs/uni3r_tiny_4 "$shares" objective.weights.l1=0 objective.weights.ssim=0 \
    objective.weights.feature=0 objective.weights.depth=0 objective.weights.context_feature=1.0 data.batch_size=6 \
    $optimizer.rules.0.rate=0.3 $optimizer.learning_rate=6e-4 +data.seed=33 +data.train.seed=33 data.epoch_windows=1800 \
    data.validation_windows=40 trainer.max_steps=900 "$@"
train $(last uni3r_tiny_4) output=outputs/uni3r_tiny_5 "$shares" objective.weights.feature=0.5 \
    objective.weights.context_feature=0.5 $optimizer.learning_rate=6e-4 +data.seed=34 +data.train.seed=34 \
    data.epoch_windows=1100 trainer.max_steps=1150 "$@"

# The backbone of the present slam3r_tiny, with its stem, at 224 x 224.
rooms() { .venv/bin/python -m data_process.rooms size=224 workers=2 frames=9 "$@"; }
filmed() { rooms split=train 'fov=[42,86]' 'step=[0.05,0.2]' 'turn=[3,8]' tilted=true "$@"; }
filmed output=data/rooms_splats_1 scenes=640 seed=91
filmed output=data/rooms_splats_2 scenes=740 seed=92
rooms output=data/rooms_val_splats split=held_out scenes=24 seed=93
mkdir -p data/rooms_train_splats
for part in 1 2; do
    for room in "data/rooms_splats_$part"/scene_*; do
        ln -sfn "$(realpath "$room")" "data/rooms_train_splats/${part}_$(basename "$room")"
    done
done
OMP_NUM_THREADS=1 .venv/bin/python scripts/train.py experiment=uni3r_tiny_stem threads=1 trainer.precision=32-true "$@"

mkdir -p checkpoints/uni3r_tiny
cp outputs/uni3r_tiny_stem/weights/* checkpoints/uni3r_tiny/
