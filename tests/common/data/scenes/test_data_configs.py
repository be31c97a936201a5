"""The published mixtures, built from their configuration files over miniature data sets, give batches."""

from __future__ import annotations

import pytest
from hydra.utils import instantiate

from tests.support.configs import compose_config
from tests.support.processed import write_scene


@pytest.fixture(scope="module")
def roots(tmp_path_factory) -> dict[str, str]:
    """A root per data set, with a scene for each split."""
    root = tmp_path_factory.mktemp("data")
    for split in ("train", "val"):
        facts = {"split": split, "number_step": 1, "sensor": "dslr"}
        write_scene(root / "scannetpp" / f"{split}_dslr", range(130), attributes=facts, labels=True)
        write_scene(root / "aria" / split, range(30), attributes=facts)
    orbit = {"split": "train", "splits": ["train", "test"], "category": "chair", "sequence": "1"}
    write_scene(root / "co3d" / "chair_1", range(60), attributes=orbit, mask=True)
    for number in range(151):
        write_scene(root / "scannet" / f"scene{number:04d}_00", range(40 if number == 0 else 1), labels=number == 0)
    write_scene(root / "test" / "scene0700_00", range(33), labels=True)
    write_scene(root / "seven_scenes" / "chess_1", range(60), attributes={"split": "train"})
    write_scene(root / "tum" / "desk", range(60))
    names = {"SEVEN_SCENES": "seven_scenes", "TUM": "tum"}
    names |= {"SCANNETPP": "scannetpp", "ARIA": "aria", "CO3D": "co3d", "SCANNET": "scannet", "SCANNET_TEST": "test"}
    return {name: str(root / folder) for name, folder in names.items()}


def build(monkeypatch, roots, name: str):
    for variable, folder in roots.items():
        monkeypatch.setenv(variable, folder)
    config = compose_config(f"data/{name}", ["data.num_workers=0", "data.batch_size=2"])
    return instantiate(config.data)


@pytest.mark.parametrize(("name", "views"), [("slam3r_i2p", 11), ("slam3r_l2w", 13)])
def test_the_mixtures_of_slam3r(monkeypatch, roots, name, views):
    data = build(monkeypatch, roots, name)
    assert len(data.train) == 8000 and data.sampler.num_samples == 8000
    assert [source.samples_per_epoch for source in data.train.sources] == [4000, 2000, 2000]
    batch = next(iter(data.train_dataloader()))
    assert batch.images.shape == (2, views, 3, 224, 224) and batch.labels is None
    assert data.describe(int(batch.sample[0, 0])).split("/")[0] in ("scannetpp", "aria", "co3d")
    assert data.validation_names == ["scannetpp", "aria", "co3d"]
    strides = [dataset.windows.stride for dataset in list(data.validation.values())[:2]]
    assert strides == [{11: 1, 13: 3}[views], 1]
    assert all(dataset.zoom_range == 0 and dataset.jitter is None for dataset in data.validation.values())


@pytest.mark.parametrize("context", [2, 8, 16])
def test_the_mixtures_of_uni3r(monkeypatch, roots, context):
    data = build(monkeypatch, roots, f"uni3r_{context}view")
    assert len(data.train) == 10000
    batch = next(iter(data.train_dataloader()))
    assert batch.images.shape == (2, 2 * context - 1, 3, 256, 256) and batch.labels is not None
    test = next(iter(data.val_dataloader()))
    assert test.images.shape[1] == 2 * context - 1
    assert test.camera_to_world[0, :2, 0, 3].tolist() == [0, 2]


@pytest.mark.parametrize("name", ["seven_scenes", "tum"])
def test_video_data_sets_alone(monkeypatch, roots, name):
    for variable, folder in roots.items():
        monkeypatch.setenv(variable, folder)
    dataset = instantiate(compose_config(f"data/{name}").data)
    assert len(dataset) == 10 and dataset[0].images.shape == (11, 3, 224, 224)
