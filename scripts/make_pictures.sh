#!/usr/bin/env bash
# Remakes the pictures of the README, .github/images, with the shipped weights: some minutes on two cores.
# Those of the office are made where OFFICE names the folder of its seventeen pictures (TUM RGB-D,
# freiburg3_long_office_household).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
python=${PYTHON:-.venv/bin/python}
images=.github/images
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"$python" scripts/demo.py output="$work/room"
"$python" scripts/replay.py run="$work/room" output="$images/room.gif" max_points=500000 \
    film.size='[288,512]' film.fps=10 film.rest=6

if [[ -n ${OFFICE:-} ]]; then
    for mode in off auto; do
        "$python" scripts/reconstruct.py source.path="$OFFICE" output="$work/office_$mode" refinement="$mode"
    done
    "$python" - "$work/office_off/preview.png" "$work/office_auto/preview.png" "$images/office.jpg" <<'END'
import sys

import cv2

before, after = (cv2.resize(cv2.imread(path), (690, 460), interpolation=cv2.INTER_AREA) for path in sys.argv[1:3])
gap = cv2.copyMakeBorder(before, 0, 0, 0, 8, cv2.BORDER_CONSTANT, value=(255, 255, 255))
cv2.imwrite(sys.argv[3], cv2.hconcat([gap, after]), [cv2.IMWRITE_JPEG_QUALITY, 88])
END
    "$python" scripts/render.py source.path="$OFFICE" output="$work/office_gaussians" queries='[chair,table,floor]' \
        export.flight.frames=0
    "$python" - "$work/office_gaussians/overview.png" "$images/office_gaussians.jpg" <<'END'
import sys

import cv2

tile, caption, gap = 448, 18, 4  # of the overview: four of its columns, and the rows of new views and of words
overview = cv2.imread(sys.argv[1])
rows = []
for row in (1, 4, 5, 6):
    top = row * (caption + tile + gap) + caption
    shown = [overview[top : top + tile, left : left + tile] for left in (column * (tile + gap) for column in (0, 3, 5, 7))]
    rows.append(cv2.hconcat([cv2.copyMakeBorder(one, 0, gap, 0, gap, cv2.BORDER_CONSTANT, value=(255, 255, 255)) for one in shown]))
picture = cv2.vconcat(rows)
picture = cv2.resize(picture, None, fx=0.6, fy=0.6, interpolation=cv2.INTER_AREA)
cv2.imwrite(sys.argv[2], picture, [cv2.IMWRITE_JPEG_QUALITY, 86])
END
fi
