"""Neighbours: overlap, parallax, spread, and cost that grows with the number of frames only."""

import time

import pytest
import torch

from common.refinement.dense.neighbours import candidate_views, choose_neighbours
from common.refinement.dense.settings import NeighbourSettings
from common.refinement.dense.views import dense_views
from common.refinement.types import Camera, Picture, Tracks

DISTANCE = 2.0
"""Metres from the cameras to the wall that they look at."""
SETTINGS = NeighbourSettings(count=3)


def views_beside(offsets, turned=()):
    """Cameras at (x, y) metres that look at a wall straight ahead; those in `turned` look away from it."""
    poses = torch.eye(4).repeat(len(offsets), 1, 1)
    poses[:, :2, 3] = torch.tensor(offsets)
    for index in turned:
        poses[index, :3, :3] = torch.diag(torch.tensor([-1.0, 1.0, -1.0]))
    picture = Picture(torch.zeros(3, 64, 64, dtype=torch.uint8), (64, 64), 0, torch.eye(3))
    camera = Camera(64.0, 64.0, 31.5, 31.5, (64, 64))
    return dense_views([picture] * len(offsets), [camera], poses, (64, 64), [1.0], "cpu")[1.0]


def chosen(views, settings=SETTINGS, tracks=None):
    candidates = candidate_views(len(views), views.posed, tracks or Tracks.empty(), settings.candidates)
    depth = torch.full((len(views), 64, 64), DISTANCE)
    return [row.tolist() for row in choose_neighbours(views, depth, candidates, settings)]


def test_the_best_parallax_comes_first():
    """8 degrees at 2 m are 28 cm; 3 cm are too little, 1.5 m leave no overlap."""
    views = views_beside([(0.0, 0.0), (0.03, 0.0), (0.15, 0.0), (0.28, 0.0), (0.6, 0.0), (1.5, 0.0)])
    assert chosen(views)[0][0] == 3
    assert not {1, 5} & set(chosen(views)[0])


def test_neighbours_stand_on_different_sides():
    """A cluster of good views on the right does not crowd out a fair one on the left."""
    views = views_beside([(0.0, 0.0), (0.28, 0.0), (0.29, 0.0), (0.285, 0.01), (-0.4, 0.0)])
    assert 4 in chosen(views)[0][:2]


def test_views_that_look_away_or_have_no_pose_are_left_out():
    views = views_beside([(0.0, 0.0), (0.28, 0.0), (-0.28, 0.0), (0.0, 0.28)], turned=[1])
    views.camera_to_world[2] = torch.nan
    assert chosen(views) == [[3], [], [], [0]]


@pytest.mark.parametrize("offsets", [[(0.0, 0.0)], [(0.0, 0.0), (0.0, 0.0)]])
def test_one_frame_and_no_parallax_have_no_neighbours(offsets):
    assert chosen(views_beside(offsets)) == [[] for _ in offsets]


def test_candidates_share_tracks_or_are_near_in_time():
    """Frame 0 sees the same points as frame 90, a loop; that makes it a candidate."""
    count = 100
    frame = torch.arange(count).repeat_interleave(2)
    point = torch.stack([torch.arange(count), (torch.arange(count) + 1) % 90], dim=1).flatten()
    tracks = Tracks(torch.zeros(count, 3), frame, torch.zeros(len(frame), 2), point)
    posed = torch.ones(count, dtype=torch.bool)
    posed[1] = False
    candidates = candidate_views(count, posed, tracks, 12)
    assert candidates.shape == (count, 12)
    assert 89 in candidates[0] and 2 in candidates[0]
    assert 1 not in candidates[0] and 0 not in candidates[0]
    assert (candidates[1] == -1).all()
    for row in candidates:
        kept = row[row >= 0]
        assert len(kept.unique()) == len(kept)


def test_cost_grows_with_the_number_of_frames_only():
    """Ten times the frames, tracks of 100 frames each: about ten times the work, not a hundred."""

    def seconds(count):
        start = torch.arange(0, count, 2).repeat_interleave(100)
        frame = (start + torch.arange(100).repeat(len(start) // 100)) % count
        point = torch.arange(count // 2).repeat_interleave(100)
        tracks = Tracks(torch.zeros(count // 2, 3), frame, torch.zeros(len(frame), 2), point)
        begin = time.process_time()
        candidate_views(count, torch.ones(count, dtype=torch.bool), tracks, 48)
        return time.process_time() - begin

    seconds(200)
    assert seconds(4000) < 40 * max(seconds(400), 0.005)
