"""The readers of the data sets: which windows each makes, of which scenes, and which depth it trusts."""

import json

import numpy as np
import pytest
import torch

from common.data.scenes.augment import ColorJitter
from common.data.scenes.dataset import WindowDataset
from common.data.scenes.datasets.aria import Aria
from common.data.scenes.datasets.co3d import Co3d
from common.data.scenes.datasets.replica import Replica
from common.data.scenes.datasets.scannet import ScanNet
from common.data.scenes.datasets.scannetpp import ScanNetPlusPlus
from common.data.scenes.datasets.seven_scenes import SevenScenes
from common.data.scenes.datasets.tum import TumRgbd
from common.data.scenes.scene_folder import DataError
from common.data.scenes.windows import ConsecutiveWindows, OrbitWindows, RandomWindows
from tests.support.processed import FOCAL, write_scene


@pytest.fixture(scope="module")
def scannetpp(tmp_path_factory):
    root = tmp_path_factory.mktemp("scannetpp")
    phone = {"sensor": "iphone", "number_step": 10}
    write_scene(root / "a_iphone", range(0, 340, 10), attributes={**phone, "split": "train"})
    write_scene(root / "b_dslr", range(33), attributes={"sensor": "dslr", "number_step": 1, "split": "train"})
    write_scene(root / "c_iphone", range(0, 320, 10), attributes={**phone, "split": "val"})
    return root


def numbers(views) -> list[int]:
    """The frame numbers of a window, which are the cameras' x."""
    return views.camera_to_world[:, 0, 3].int().tolist()


def test_scannetpp_windows_of_both_sensors(scannetpp):
    data = ScanNetPlusPlus(scannetpp, size=32, zoom_range=0)
    assert len(data) == 4 + 3, "11 views of every third frame span 31 frames"
    assert numbers(data[1]) == list(range(10, 320, 30)) and numbers(data[4]) == list(range(0, 31, 3))
    assert data.describe(4) == "scannetpp/b_dslr frames " + ", ".join(str(n) for n in range(0, 31, 3))
    assert len(ScanNetPlusPlus(scannetpp, sensor="dslr", size=32)) == 3
    assert len(ScanNetPlusPlus(scannetpp, split="val", size=32, stride=1)) == 22
    with pytest.raises(IndexError):
        data[7]
    with pytest.raises(DataError, match="none of the 3 scenes"):
        ScanNetPlusPlus(scannetpp, split="nvs_sem_test")
    with pytest.raises(DataError, match="long enough"):
        ScanNetPlusPlus(scannetpp, num_views=40)


def test_views_are_metric_and_follow_the_crop(scannetpp):
    views = ScanNetPlusPlus(scannetpp, num_views=3, size=(24, 32), zoom_range=0)[0]
    assert views.images.shape == (3, 3, 24, 32) and views.images.dtype == torch.float32 and views.labels is None
    assert [float(depth.mean()) for depth in views.depth] == pytest.approx([1, 31, 61])
    # 48 x 36 to 32 x 24: two thirds, principal point kept in the middle
    assert torch.allclose(views.intrinsics[0, 0], torch.tensor([FOCAL * 2 / 3, 0, 15.83]), atol=0.01)
    grey = views.images[1].mean() * 127.5 + 127.5
    assert float(grey) == pytest.approx(60, abs=1.5)


def test_an_item_is_a_function_of_seed_epoch_and_index(scannetpp):
    options = {"num_views": 3, "size": 16, "zoom_range": 20, "jitter": ColorJitter(per_view=True)}
    data = ScanNetPlusPlus(scannetpp, seed=1, **options)
    first = data[2]
    data[5]
    assert torch.equal(data[2].images, first.images)
    assert torch.equal(ScanNetPlusPlus(scannetpp, seed=1, **options)[2].images, first.images)
    assert not torch.equal(ScanNetPlusPlus(scannetpp, seed=2, **options)[2].intrinsics, first.intrinsics)
    focals = first.intrinsics[:, 0, 0]
    assert len(set(focals.tolist())) > 1, "the zoom differs between the views of a window"
    data.set_epoch(1)
    assert not torch.equal(data[2].intrinsics, first.intrinsics)
    published = ScanNetPlusPlus(scannetpp, seed=1, seeding="index", **options)
    before = published[2].intrinsics
    published.set_epoch(1)
    assert torch.equal(published[2].intrinsics, before), "seed + index: alike in every epoch"


def test_a_shorter_length_is_spread_over_all_windows(scannetpp):
    data = ScanNetPlusPlus(scannetpp, split=None, num_views=2, stride=1, size=16, length=5)
    total = 33 + 32 + 31
    assert data.num_windows == total and len(data) == 5
    assert [data.window_of(index) for index in range(5)] == [0, 19, 38, 57, 76]
    longer = ScanNetPlusPlus(scannetpp, split=None, num_views=2, stride=1, size=16, length=2 * total)
    assert longer.describe(total + 3) == longer.describe(3)


def test_aria_strides(tmp_path):
    for name in ("0", "1"):
        write_scene(tmp_path / name, range(25), attributes={"split": "val" if name == "1" else "train"})
    assert numbers(Aria(tmp_path, size=16)[2]) == list(range(2, 23, 2))
    assert len(Aria(tmp_path, size=16)) == 5 and len(Aria(tmp_path, split="val", stride=1, size=16)) == 15


def test_scannet_validates_on_its_last_scenes(tmp_path):
    for number in range(5):
        write_scene(tmp_path / f"scene{number:04d}_00", range(0, 40, 10), attributes={"number_step": 10}, labels=True)
    train = ScanNet(tmp_path, num_views=3, validation_scenes=2, size=16, labels=True)
    assert [scene.name[-7:-3] for scene in train.scenes.scenes] == ["0000", "0001", "0002"]
    assert train[0].labels.dtype == torch.int64 and train[0].labels[2].unique().tolist() == [20 % 8]
    assert [scene.name[-7:-3] for scene in ScanNet(tmp_path, 3, "val", validation_scenes=2).scenes.scenes] == [
        "0003",
        "0004",
    ]
    with pytest.raises(DataError, match="none of the 5 scenes"):
        ScanNet(tmp_path, num_views=3)
    with pytest.raises(ValueError, match="split must be train, val or null"):
        ScanNet(tmp_path, split="test")


def test_other_data_sets_are_a_stride_and_a_split(tmp_path):
    write_scene(tmp_path / "room0", range(60), attributes={"split": "test"})
    assert numbers(Replica(tmp_path, num_views=3, size=16)[0]) == [0, 10, 20]
    assert numbers(TumRgbd(tmp_path, num_views=3, size=16)[0]) == [0, 5, 10]
    assert numbers(SevenScenes(tmp_path, num_views=3, split="test", size=16)[1]) == [1, 6, 11]
    rule = ConsecutiveWindows(2, 7)
    assert numbers(Replica(tmp_path, windows=rule, size=16)[0]) == [0, 7], "any rule can be put in the place of its own"


class TestCo3d:
    @pytest.fixture(scope="class")
    def root(self, tmp_path_factory):
        root = tmp_path_factory.mktemp("co3d")
        facts = {"category": "chair", "split": "train", "splits": ["train", "test"]}
        write_scene(root / "chair_1", range(80), depth_scale=300, attributes={**facts, "sequence": "1"}, mask=True)
        write_scene(root / "chair_2", range(30), depth_scale=300, attributes={**facts, "sequence": "2"}, mask=True)
        for split, frames in (("train", list(range(60))), ("test", list(range(60, 80)))):
            (root / f"selected_seqs_{split}.json").write_text(json.dumps({"chair": {"1": frames, "2": frames[:30]}}))
        return root

    def test_arcs_over_the_frames_of_the_split(self, root):
        data = Co3d(root, size=16, zoom_range=0)
        assert len(data) == 3 * 60, "a sequence with fewer frames than an arc has no window"
        assert numbers(data[0]) == list(range(0, 51, 5))
        late = numbers(data[3 * 59])
        assert late[0] == 58 and late[-1] == (58 + 50) % 60, "arcs go round"
        assert len(Co3d(root, split=None, size=16)) == 3 * 80
        with pytest.raises(DataError, match="long enough"):
            Co3d(root, split="test", size=16)

    def test_the_background_loses_its_depth_in_half_of_the_windows(self, root):
        data = Co3d(root, size=16, num_views=2, zoom_range=0)
        shares = []
        for index in range(60):
            shares.append(float((data[index].depth > 0).float().mean()))
        assert set(shares) == {9 / 16, 1.0} and 15 < sum(share < 1 for share in shares) < 45
        whole = Co3d(root, size=16, num_views=2, zoom_range=0, mask_probability=0)
        assert all((whole[index].depth > 0).all() for index in range(6))
        masked = Co3d(root, size=16, num_views=2, zoom_range=0, mask_probability=1)
        assert torch.equal(masked[7].images, whole[7].images), "the images stay whole"

    def test_depth_far_beyond_the_median_is_invalid(self, root):
        depth = np.full((10, 10), 100, np.uint16)
        depth[0], depth[1], depth[2] = 300, 301, 0
        valid = Co3d(root, size=16).valid_depth(depth, None)
        assert (valid[0] == 300).all() and (valid[1:3] == 0).all() and (valid[3:] == 100).all()
        assert (Co3d(root, size=16).valid_depth(np.zeros((2, 2), np.uint16), None) == 0).all()


def test_rules_say_what_is_wrong_with_them(tmp_path):
    with pytest.raises(ValueError, match="order must be"):
        RandomWindows(3, (1, 2), "backwards")
    with pytest.raises(ValueError, match="strides of 3 to 1"):
        RandomWindows(3, (3, 1))
    write_scene(tmp_path / "a", range(4))
    with pytest.raises(ValueError, match="needs crop='middle'"):
        WindowDataset(tmp_path, OrbitWindows(3), size=None)
