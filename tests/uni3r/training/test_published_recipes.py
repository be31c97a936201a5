"""Learning rates and parameter groups of the published recipes, against the recorded ones."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from hydra.utils import instantiate

from common.checkpoints.detect import UNI3R
from common.training.optim import OptimizerConfig, build_optimizer, parameter_groups
from tests.support.training_runs import composed
from tests.support.uni3r_parity import find, published_keys
from uni3r.models.uni3r import Uni3R

RECIPES = {"two_view": "uni3r_2view", "eight_view": "uni3r_8view", "sixteen_view": "uni3r_16view"}
STEPS_PER_EPOCH = 100
"""Any number that makes all recorded epochs whole steps."""

pytestmark = pytest.mark.filterwarnings("ignore:Detected call of `lr_scheduler.step")


@pytest.fixture(scope="module")
def protocol() -> dict:
    return json.loads(find("protocol.json").read_text())


def optimizer_of(recipe: str) -> tuple[OptimizerConfig, int]:
    """The recipe's optimizer and its number of epochs."""
    config = composed(RECIPES[recipe])
    return instantiate(config.objective.optimizer), config.trainer.max_epochs


@pytest.mark.parametrize("recipe", RECIPES)
def test_published_learning_rates(protocol: dict, recipe: str) -> None:
    expected, (config, epochs) = protocol["learning_rate"][recipe], optimizer_of(recipe)
    assert (config.learning_rate, config.min_learning_rate, epochs) == (
        expected["lr"],
        expected["min_lr"],
        expected["epochs"],
    )
    assert config.warmup(epochs * STEPS_PER_EPOCH) == expected["warmup_epochs"] * STEPS_PER_EPOCH
    with torch.device("meta"):
        model = Uni3R()
    optimizer, schedule = build_optimizer(model, config, epochs * STEPS_PER_EPOCH)
    recorded = {round(epoch * STEPS_PER_EPOCH): rates for epoch, *rates in expected["values"]}
    for step in range(max(recorded) + 1):
        if step in recorded:
            rates = {group["rate"]: group["lr"] for group in optimizer.param_groups}
            assert [rates[0.1], rates[1.0]] == pytest.approx(recorded[step], rel=1e-6, abs=1e-15), step
        schedule.step()


@pytest.mark.parametrize("recipe", RECIPES)
def test_published_parameter_groups(protocol: dict, recipe: str) -> None:
    """Tensors by how they learn: ours, and those that ours leaves out because no gradient reaches them."""
    with torch.device("meta"):
        model = Uni3R()
    names = {parameter: name for name, parameter in model.named_parameters()}
    config, _ = optimizer_of(recipe)
    groups: dict[tuple[float, float], set[str]] = {}
    for group in parameter_groups(model, config.weight_decay, config.rules):
        members = {names[parameter] for parameter in group["params"]}
        groups.setdefault((group["rate"], group["weight_decay"]), set()).update(members)

    left_out = [key for key in learning_keys() if UNI3R.rename(key) not in names.values()]
    heads = {f"vggt.{head}_head" for head in ("camera", "depth", "track")}
    assert {root_of(key) for key in left_out} == heads | {"gaussian_head.gaussian_proj"}
    for (rate, decay), members in groups.items():
        keys = [key for key in learning_keys() if UNI3R.rename(key) in members]
        keys += [key for key in left_out if published_group(key) == (rate, decay)]
        alike = [g for g in protocol["optimizer_groups"] if (g["lr_scale"], g["weight_decay"]) == (rate, decay)]
        assert len(keys) == sum(group["tensors"] for group in alike)
        numbers = sum(torch.Size(published_keys()[key]).numel() for key in keys)
        assert numbers == sum(group["numbers"] for group in alike)
        assert {root_of(key) for key in keys} == {root for group in alike for root in group["roots"]}


def learning_keys() -> list[str]:
    """Published names of all tensors but those of the teachers, and the mask token, which is frozen."""
    fixed = ("distiller.", "lseg_feature_extractor.", "vggt.aggregator.patch_embed.mask_token")
    return [key for key in published_keys() if not key.startswith(fixed)]


def root_of(key: str) -> str:
    return ".".join(key.split(".")[:2])


def published_group(key: str) -> tuple[float, float]:
    """Rate and decay of a tensor by its published name."""
    if key.startswith("vggt."):
        return 0.1, 0.0
    return 1.0, 0.05 if len(published_keys()[key]) >= 2 else 0.0


def test_the_recipe_for_any_number_of_views() -> None:
    """Its differences from the recipe for two views, as released in April 2026; all else is shared."""
    config, two = composed("uni3r_arbitrary"), composed("uni3r_2view")
    assert (config.data.batch_size, config.trainer.accumulate_grad_batches, config.trainer.max_epochs) == (1, 2, 100)
    assert config.objective.optimizer == two.objective.optimizer
    assert config.objective.unit.rule == "first_last"
    assert instantiate(config.objective.distillation).keep == 1.0
    for name, source in config.data.train.sources.items():
        assert source.samples_per_epoch == 5000
        rule, other = instantiate(source.dataset.windows), instantiate(two.data.train.sources[name].dataset.windows)
        assert replace(rule, context_views=2) == other and list(rule.context_views) == [2, 4, 8]
    tested = [instantiate(each.windows).context_views for each in config.data.validation.values()]
    assert tested == [2, 4, 8]
