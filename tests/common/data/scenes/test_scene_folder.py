"""Scenes on disk: what is read, when, and what a damaged one is called."""

import json

import numpy as np
import pytest

from common.data.scenes.scene_folder import DataError, RgbdScene, SceneIndex
from tests.support.processed import FOCAL, write_manifest, write_scene


def test_a_scene_tells_its_cameras_and_frames(tmp_path):
    scene = RgbdScene(
        write_scene(tmp_path / "a", [3, 5, 9], depth_scale=500, attributes={"sensor": "dslr"}, labels=True)
    )
    assert scene.numbers.tolist() == [3, 5, 9] and scene.num_frames == 3 and scene.frames[1] == "000005"
    assert scene.camera_to_world[:, 0, 3].tolist() == [3, 5, 9] and scene.intrinsics[0, 0, 0] == FOCAL
    assert scene.depth_scale == 500 and scene.attributes["sensor"] == "dslr"
    frame = scene.read(1, labels=True, mask=True)
    assert (frame.depth == 3000).all() and (frame.labels == 5).all() and frame.mask is None
    assert np.abs(frame.image.astype(int) - 10).max() <= 1
    assert scene.read(1).labels is None, "what is not asked for is not decoded"


def test_colours_come_as_rgb(tmp_path):
    import cv2

    folder = write_scene(tmp_path / "a", [0])
    cv2.imwrite(str(folder / "color" / "000000.jpg"), np.full((36, 48, 3), (0, 0, 250), np.uint8))  # red, as BGR
    assert RgbdScene(folder).read(0).image[20, 20].tolist() == pytest.approx([250, 0, 0], abs=6)


def test_a_restricted_scene_has_some_of_the_frames(tmp_path):
    scene = RgbdScene(write_scene(tmp_path / "a", range(6))).restricted([1, 4, 77])
    assert scene.numbers.tolist() == [1, 4] and scene.num_frames == 2
    assert scene.camera_to_world[:, 0, 3].tolist() == [1, 4] and (scene.read(1).depth == 5000).all()


def test_an_index_opens_no_scene_before_it_is_used(tmp_path):
    for name in ("b", "a", "c"):
        write_scene(tmp_path / name, [0, 1], attributes={"split": name})
    (tmp_path / ".c.123").mkdir()  # half written
    (tmp_path / ".c.123" / "cameras.npz").touch()
    assert [scene.name for scene in SceneIndex(tmp_path).scenes] == ["a", "b", "c"]
    write_manifest(tmp_path)
    for path in tmp_path.glob("*/cameras.npz"):
        path.unlink()
    index = SceneIndex(tmp_path, lambda scenes: [scene for scene in scenes if scene.attributes["split"] != "b"])
    assert [(scene.name, scene.num_frames) for scene in index.scenes] == [("a", 2), ("c", 2)]
    with pytest.raises(DataError, match="none of the 3 scenes"):
        SceneIndex(tmp_path, lambda scenes: [])


def test_damage_is_named(tmp_path):
    with pytest.raises(DataError, match="no scene folders"):
        SceneIndex(tmp_path)
    folder = write_scene(tmp_path / "a", [0, 1])
    (folder / "depth" / "000001.png").write_bytes((folder / "depth" / "000001.png").read_bytes()[:20])
    with pytest.raises(DataError, match=r"depth/000001\.png is not an image"):
        RgbdScene(folder).read(1)
    (folder / "color" / "000000.jpg").unlink()
    with pytest.raises(DataError, match=r"color/000000\.jpg is missing"):
        RgbdScene(folder).read(0)
    (folder / "cameras.npz").write_bytes(b"PK not really")
    with pytest.raises(DataError, match=r"cameras\.npz is not a readable file with number, camera_to_world"):
        RgbdScene(folder).numbers  # noqa: B018
    np.savez(
        folder / "cameras.npz", number=[0, 1], camera_to_world=np.full((2, 4, 4), np.nan), intrinsics=np.eye(3)[None]
    )
    with pytest.raises(DataError, match="disagree"):
        RgbdScene(folder).numbers  # noqa: B018
    intrinsics = np.tile(np.eye(3), (2, 1, 1))
    np.savez(folder / "cameras.npz", number=[0, 1], camera_to_world=np.full((2, 4, 4), np.nan), intrinsics=intrinsics)
    with pytest.raises(DataError, match="not finite"):
        RgbdScene(folder).numbers  # noqa: B018
    (tmp_path / "scenes.json").write_text("{")
    with pytest.raises(DataError, match=r"scenes\.json is not readable JSON"):
        SceneIndex(tmp_path)
    (tmp_path / "scenes.json").write_text(json.dumps({"scenes": []}))
    with pytest.raises(DataError, match="no mapping 'scenes'"):
        SceneIndex(tmp_path)
