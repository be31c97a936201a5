"""Bundle adjustment from a bad start."""

import numpy as np
import pytest
import torch

from common.refinement.cameras.adjustment import adjust_coarse, adjust_fine, correspondence_graph, solve
from common.refinement.cameras.model import add_network_points, build_model, connected_frames, tracks_of
from common.refinement.cameras.placement import Placement, all_feature_geometry
from common.refinement.matching.backend import silence
from common.refinement.matching.features import extract
from common.refinement.matching.pair_matching import match_pairs
from common.refinement.matching.track_building import build_tracks, clean_observations
from common.refinement.projection import project
from common.refinement.settings import AdjustmentSettings, MatchingSettings
from common.refinement.types import Camera
from tests.support.filmed_room import path_error

SETTINGS = AdjustmentSettings(rounds=2)


@pytest.fixture(scope="module")
def matched(room):
    """Features and matches of the room."""
    features = extract(room.pictures, MatchingSettings())
    camera = Camera(room.focal, room.focal, 159.5, 119.5, (240, 320))
    pairs = [(first, first + step) for step in (1, 2, 4) for first in range(12 - step)]
    with silence():
        return features, match_pairs(features, pairs, [camera] * 12, MatchingSettings())


def started(room, matched, camera):
    """The room at true rotations and shifted positions, with the network's points, and its poses."""
    features, matches = matched
    rng = np.random.default_rng(0)
    poses = room.camera_to_world.numpy().copy()
    poses[:, :3, 3] += rng.normal(0, 0.05, (12, 3))
    tracks = build_tracks([len(feature) for feature in features], matches, 0.0, rng)
    geometry = all_feature_geometry(features, [camera] * 12, room.pictures, room.prediction)
    observations = clean_observations(tracks, matches, np.ones(12, dtype=bool), 300)
    model = build_model([camera], [0] * 12, features, poses)
    add_network_points(model, observations, geometry, Placement(poses, np.ones(12), 0.0))
    return model, poses


def adjusted(room, matched, camera):
    features, matches = matched
    with silence():
        model, _ = started(room, matched, camera)
        adjust_coarse(model, SETTINGS, 1)
        return adjust_fine(model, features, correspondence_graph(features, matches), SETTINGS, threads=1, seed=0)


def test_poses_and_focal_length_come_out_right(room, matched):
    model = adjusted(room, matched, Camera(0.93 * room.focal, 0.93 * room.focal, 159.5, 119.5, (240, 320)))
    (camera,) = model.adjusted_cameras()

    assert camera.focal == pytest.approx(room.focal, rel=0.02)
    assert path_error(torch.from_numpy(model.poses(12)), room.camera_to_world) < 0.005
    assert connected_frames(model, 12, 15).all()


def test_tracks_are_seen_where_they_say(room, matched):
    model = adjusted(room, matched, Camera(room.focal, room.focal, 159.5, 119.5, (240, 320)))
    tracks, (camera,) = tracks_of(model, np.ones(12, dtype=bool)), model.adjusted_cameras()

    poses = torch.from_numpy(model.poses(12)).float()[tracks.frame]
    local = (poses[:, :3, :3].mT @ (tracks.point[tracks.point_index] - poses[:, :3, 3])[..., None])[..., 0]
    assert (project(camera, local) - tracks.xy).norm(dim=1).median() < 0.5
    assert tracks.length.min() >= 2 and len(tracks.point) > 200


def test_a_known_camera_stays_as_it_is(room, matched):
    known = Camera(1.02 * room.focal, 1.03 * room.focal, 160.0, 119.0, (240, 320), 0.01, known=True)

    assert adjusted(room, matched, known).adjusted_cameras() == [known]


def test_frames_that_share_too_few_points_are_not_connected(room, matched):
    model = adjusted(room, matched, Camera(room.focal, room.focal, 159.5, 119.5, (240, 320)))
    reconstruction = model.reconstruction
    for identifier in list(reconstruction.points3D):
        elements = reconstruction.points3D[identifier].track.elements
        sides = {element.image_id <= 4 for element in elements}
        if len(sides) > 1:
            reconstruction.delete_point3D(identifier)

    assert connected_frames(model, 12, 15).tolist() == [False] * 4 + [True] * 8


def test_rotations_wait_while_positions_and_points_come_right(room, matched):
    model, start = started(room, matched, Camera(room.focal, room.focal, 159.5, 119.5, (240, 320)))
    with silence():
        solve(model, SETTINGS, 1, loss="CAUCHY", scale=20.0, focal=False, radial=False, turn=False)
    found = model.poses(12)

    assert np.abs(found[:, :3, :3] - start[:, :3, :3]).max() < 1e-6
    before, after = (path_error(torch.from_numpy(poses).float(), room.camera_to_world) for poses in (start, found))
    assert after < 0.5 * before
