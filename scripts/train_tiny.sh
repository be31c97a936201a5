#!/usr/bin/env bash
# Trains slam3r_tiny from nothing, on the processor: the commands that made checkpoints/slam3r_tiny. About 90 minutes on
# two cores, run command by command; never yet as one piece. Rooms go to data/, runs to outputs/. Arguments are added to every training command, e.g. seed=1.
#
# The shipped weights saw one interruption that this script leaves out: the first run was started again from its weights
# at step 500, which it had reached as one process.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bash scripts/setup.sh
python=.venv/bin/python
rooms() { "$python" -m data_process.rooms seed=0 size=224 workers=2 "$@"; }
rooms output=data/rooms_train split=train scenes=1600 frames=14
rooms output=data/rooms_val split=held_out scenes=40 frames=24

train() { OMP_NUM_THREADS=1 "$python" scripts/train.py threads=1 trainer.enable_progress_bar=false "$@"; }
both="trainer=cpu_ranks"    # one single-threaded process per core
small="attention_backend=math"
world="image_to_points=outputs/tiny_i2p/weights"

train $both $small experiment=tiny_i2p_small "$@"
train $both $small experiment=tiny_i2p_small output=outputs/tiny_i2p_small_2 network.source=outputs/tiny_i2p_small/weights \
    objective.auxiliary=null objective.optimizer.warmup_steps=50 objective.optimizer.min_learning_rate=1e-4 \
    trainer.max_steps=1500 "$@"
train $both experiment=tiny_i2p "$@"
train experiment=tiny_i2p_confidence "$@"
train experiment=tiny_retrieval "$@"
train $small experiment=tiny_l2w_small $world objective.with_references=true trainer.max_steps=1100 \
    'objective.frozen=[pointmap_embedding.void_token]' "$@"
train $both $small experiment=tiny_l2w_small $world start=outputs/tiny_l2w_small/weights output=outputs/tiny_l2w_small_2 "$@"
train $both experiment=tiny_l2w $world start=outputs/tiny_l2w_small_2/weights "$@"
train $both experiment=tiny_l2w $world start=outputs/tiny_l2w/weights output=outputs/tiny_l2w_2 \
    trainer.max_steps=950 data.epoch_windows=3800 "$@"

mkdir -p checkpoints/slam3r_tiny
cp -r outputs/tiny_retrieval/weights checkpoints/slam3r_tiny/image_to_points
cp -r outputs/tiny_l2w_2/weights checkpoints/slam3r_tiny/local_to_world
