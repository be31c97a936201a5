"""Dense refinement as a whole: rooms of exact truth, and everything that may be missing."""

from dataclasses import replace

import pytest
import torch

from common.refinement.dense.refine_depth import refine_depth, trace_depth
from common.refinement.types import Camera, Tracks
from tests.support.dense_scene import dense_scene, error, refined_cameras


@pytest.fixture(scope="module")
def scene():
    return dense_scene()


@pytest.fixture(scope="module")
def trace(scene):
    return trace_depth(scene.pictures, scene.prediction, scene.refined)


def test_every_stage_comes_nearer_to_the_truth(scene, trace):
    errors = {name: error(depth, scene.depth) for name, depth in trace.stages.items()}
    assert error(scene.prediction.depth, scene.depth) > 0.2
    assert errors["grid"] < 0.08  # what is left are the steps between patches
    assert errors["prior"] < 0.6 * errors["grid"]
    assert errors["sweep 1"] < errors["prior"]
    assert errors["sweep 2"] < 0.9 * errors["sweep 1"]
    assert errors["joined"] < 0.025


def test_confirmed_pixels_are_many_and_right(scene, trace):
    result = trace.result
    assert result.confirmed.float().mean() > 0.7
    assert error(result.depth, scene.depth, result.confirmed) < 0.02
    assert error(result.depth, scene.depth, ~result.confirmed) > 2 * error(result.depth, scene.depth, result.confirmed)
    wrong = ((result.depth / scene.depth - 1).abs() > 0.1)[result.confirmed]
    assert wrong.float().mean() < 0.01


class Lazy:
    """Pictures that are read when asked for, and how often that was."""

    def __init__(self, pictures):
        self.pictures, self.asked = pictures, 0

    def __len__(self):
        return len(self.pictures)

    def __getitem__(self, index):
        self.asked += index < len(self)
        return self.pictures[index]


@pytest.fixture(scope="module")
def again(scene):
    """A second run, watched: the result, the pictures and what was told."""
    told = []
    pictures = Lazy(scene.pictures)
    result = refine_depth(
        pictures, scene.prediction, scene.refined, progress=lambda stage, share: told.append((stage, share))
    )
    return result, pictures, told


def test_the_same_input_gives_the_same_bits(again, trace):
    assert torch.equal(again[0].depth, trace.result.depth)
    assert torch.equal(again[0].confirmed, trace.result.confirmed)


def test_every_picture_is_read_once(again):
    assert again[1].asked == len(again[1])


def test_progress_and_seconds_name_the_stages(again):
    result, _, told = again
    stages = list(dict.fromkeys(stage for stage, _ in told))
    expected = ["pictures", "depth grid", "sweep 1", "sweep 2", "consistency", "joining"]
    assert stages == expected == list(result.seconds)
    for stage in stages:
        shares = [share for name, share in told if name == stage]
        assert shares[0] == 0 and shares[-1] == 1 and shares == sorted(shares)


def keeps_the_prior(result):
    """The depth is usable, and nothing claims to be confirmed."""
    assert torch.isfinite(result.depth).all() and (result.depth > 0).all()
    assert not result.confirmed.any()


def test_a_frame_without_pose_and_tracks_keeps_its_shape(scene):
    poses = scene.refined.camera_to_world.clone()
    poses[2] = torch.nan
    result = refine_depth(scene.pictures, scene.prediction, replace(scene.refined, camera_to_world=poses))
    assert torch.isfinite(result.depth).all() and not result.confirmed[2].any()
    ratio = (result.depth[2] / scene.prediction.depth[2]).log()
    assert ratio.std() < 0.2  # blurred, but scaled as a whole
    assert result.confirmed[3].float().mean() > 0.5


def test_two_frames(scene):
    refined = first_frames(scene.refined, 2)
    prediction = replace(
        scene.prediction,
        depth=scene.prediction.depth[:2],
        valid=scene.prediction.valid[:2],
    )
    keeps_the_prior(refine_depth(scene.pictures[:2], prediction, refined))  # two views cannot confirm each other twice


def test_pure_rotation_has_nothing_to_triangulate(scene):
    poses = scene.refined.camera_to_world.clone()
    poses[:, :3, 3] = poses[0, :3, 3]
    refined = refined_cameras(scene.refined.cameras, poses, Tracks.empty())
    keeps_the_prior(refine_depth(scene.pictures, scene.prediction, refined))


def test_identical_pictures(scene):
    count = len(scene.pictures)
    poses = scene.refined.camera_to_world[:1].expand(count, 4, 4).clone()
    refined = refined_cameras(scene.refined.cameras, poses, Tracks.empty())
    keeps_the_prior(refine_depth([scene.pictures[0]] * count, scene.prediction, refined))


def test_pictures_without_texture_keep_the_grid(scene):
    grey = [replace(picture, image=torch.full_like(picture.image, 128)) for picture in scene.pictures]
    trace = trace_depth(grey, scene.prediction, scene.refined)
    keeps_the_prior(trace.result)
    torch.testing.assert_close(trace.result.depth, trace.stages["prior"], rtol=0.02, atol=0.0)


def test_no_pose_at_all(scene):
    poses = torch.full_like(scene.refined.camera_to_world, torch.nan)
    refined = refined_cameras(scene.refined.cameras, poses, scene.refined.tracks)
    keeps_the_prior(refine_depth(scene.pictures, scene.prediction, refined))


def test_broken_predictions_do_not_spread(scene):
    depth = scene.prediction.depth.clone()
    valid = scene.prediction.valid.clone()
    depth[0], valid[1], depth[2, :40] = torch.nan, False, 0.0
    depth[3, 50:, :10] = torch.inf
    result = refine_depth(scene.pictures, replace(scene.prediction, depth=depth, valid=valid), scene.refined)
    assert torch.isfinite(result.depth).all() and (result.depth > 0).all()
    assert error(result.depth[4:], scene.depth[4:], result.confirmed[4:]) < 0.02


def test_a_picture_of_another_size_and_camera(scene):
    """Every second picture comes from a camera with twice the pixels and lies beside the others."""
    camera = scene.refined.cameras[0]
    large = (224, 288)
    double = Camera(2 * camera.fx, 2 * camera.fy, 2 * camera.cx + 0.5, 2 * camera.cy + 0.5, large)
    shrink = torch.tensor([[0.5, 0, -0.25], [0, 0.5, -0.25], [0, 0, 1]], dtype=torch.float64)
    pictures, xy = list(scene.pictures), scene.refined.tracks.xy.clone()
    for index in range(1, len(pictures), 2):
        old = pictures[index]
        image = torch.nn.functional.interpolate(old.image[None].float(), large, mode="bilinear", antialias=True)[0]
        pictures[index] = replace(
            old, image=image.round().to(torch.uint8), camera=1, network_from_working=old.network_from_working @ shrink
        )
    odd = scene.refined.tracks.frame % 2 == 1
    xy[odd] = 2 * xy[odd] + 0.5
    refined = replace(scene.refined, cameras=[camera, double], tracks=replace(scene.refined.tracks, xy=xy))
    result = refine_depth(pictures, scene.prediction, refined)
    assert result.confirmed.float().mean() > 0.7
    assert error(result.depth, scene.depth, result.confirmed) < 0.02


def test_masked_pixels_are_never_confirmed(scene):
    mask = torch.ones(scene.pictures[0].size, dtype=torch.bool)
    mask[:, 40:70] = False
    pictures = [replace(picture, mask=mask) for picture in scene.pictures]
    result = refine_depth(pictures, scene.prediction, scene.refined)
    columns = 40 - 16, 70 - 16  # of the network's crop
    assert not result.confirmed[..., columns[0] : columns[1]].any()
    assert result.confirmed[..., columns[1] + 3 :].any()


def test_numbers_of_frames_must_agree(scene):
    with pytest.raises(ValueError, match="as many pictures as depths"):
        refine_depth(scene.pictures[:3], scene.prediction, scene.refined)


def first_frames(refined, count):
    keep = refined.tracks.frame < count
    tracks = replace(
        refined.tracks,
        frame=refined.tracks.frame[keep],
        xy=refined.tracks.xy[keep],
        point_index=refined.tracks.point_index[keep],
    )
    return refined_cameras(refined.cameras, refined.camera_to_world[:count], tracks)
