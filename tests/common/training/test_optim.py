"""Parameter groups, freezing, schedule."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn

from common.training.optim import OptimizerConfig, ParameterRule, build_optimizer, freeze, parameter_groups
from slam3r.models import LocalToWorld

SIZES = {"encoder_width": 16, "encoder_depth": 1, "encoder_heads": 1}
SIZES |= {"decoder_width": 16, "decoder_depth": 2, "decoder_heads": 1}


@pytest.fixture
def model() -> LocalToWorld:
    return LocalToWorld(**SIZES)


def names_of(parameters: list[nn.Parameter], model: nn.Module) -> set[str]:
    identities = {id(parameter) for parameter in parameters}
    return {name for name, parameter in model.named_parameters() if id(parameter) in identities}


class TestGroups:
    def test_matrices_decay_biases_and_norms_do_not(self, model) -> None:
        decayed, plain = parameter_groups(model, 0.05)
        assert (decayed["weight_decay"], plain["weight_decay"]) == (0.05, 0.0)
        with_decay, without = names_of(decayed["params"], model), names_of(plain["params"], model)
        assert with_decay | without == {name for name, _ in model.named_parameters()}
        assert not with_decay & without
        assert {"pointmap_embedding.void_token", "decoder.embed.weight"} <= with_decay  # the void token too: published
        assert {"decoder.embed.bias", "decoder.norm.weight"} <= without
        assert all(name.endswith(".bias") or "norm" in name for name in without)

    def test_frozen_parameters_are_in_no_group(self, model) -> None:
        freeze(model, ["decoder"])
        groups = parameter_groups(model, 0.05)
        trained = names_of(groups[0]["params"] + groups[1]["params"], model)
        assert trained and not [name for name in trained if name.startswith("decoder.")]


class TestRules:
    """Parts that learn at a rate or with a decay of their own."""

    def test_a_part_at_a_tenth_of_the_rate_without_decay(self, model) -> None:
        rules = [ParameterRule(r"decoder\.", rate=0.1, weight_decay=0.0)]
        groups = parameter_groups(model, 0.05, rules)
        slow = names_of([p for group in groups if group["rate"] == 0.1 for p in group["params"]], model)
        assert slow == {name for name, _ in model.named_parameters() if name.startswith("decoder.")}
        assert {group["weight_decay"] for group in groups if group["rate"] == 0.1} == {0.0}
        assert sum(len(group["params"]) for group in groups) == len(list(model.parameters()))

    def test_the_first_rule_that_matches_decides(self, model) -> None:
        rules = [ParameterRule(r"decoder\.embed\.", rate=2.0), ParameterRule(r"decoder\.", rate=0.5)]
        groups = parameter_groups(model, 0.05, rules)
        fast = names_of([p for group in groups if group["rate"] == 2.0 for p in group["params"]], model)
        assert fast == {"decoder.embed.weight", "decoder.embed.bias"}

    def test_early_layers_learn_slower(self, model) -> None:
        rule = ParameterRule(r"decoder\.\w+_blocks\.(?P<layer>\d+)\.", rate=0.5, layer_decay=0.8)
        for group in parameter_groups(model, 0.05, [rule]):
            for name in names_of(group["params"], model):
                layer = 1 if "_blocks.1." in name else 0 if "_blocks.0." in name else None
                assert group["rate"] == pytest.approx({1: 0.5, 0: 0.4, None: 1.0}[layer]), name

    def test_the_schedule_is_that_of_all_times_the_factor(self) -> None:
        model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
        config = OptimizerConfig(learning_rate=1e-2, warmup_share=0.1, rules=[ParameterRule("0", rate=0.1)])
        optimizer, schedule = build_optimizer(model, config, total_steps=100)
        for step in range(100):
            rates = {group["rate"]: group["lr"] for group in optimizer.param_groups}
            assert rates[0.1] == pytest.approx(0.1 * rates[1.0])
            assert step != 10 or rates[1.0] == pytest.approx(1e-2)  # after the ten steps of the warm-up
            optimizer.step()
            schedule.step()

    @pytest.mark.parametrize(
        ("make", "message"),
        [
            (lambda: ParameterRule("decoder\\.("), "not a regular expression"),
            (lambda: ParameterRule("decoder", layer_decay=0.9), "needs a group"),
            (lambda: parameter_groups(nn.Linear(2, 2), 0.0, [ParameterRule("encoder")]), "matches no parameter"),
        ],
    )
    def test_mistakes_are_named(self, make, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            make()


class TestFreezing:
    def test_patterns_match_from_the_start_of_a_name(self, model) -> None:
        frozen = freeze(model, [r"decoder\.(embed|norm)\.", "source_head"])
        assert "decoder.embed.weight" in frozen and "source_head.projection.bias" in frozen
        assert frozen == sorted(name for name, p in model.named_parameters() if not p.requires_grad)
        assert not [name for name in frozen if name.startswith(("decoder.reference", "reference_head"))]

    def test_everything_but_one_part(self, model) -> None:
        freeze(model, [r"(?!pointmap_embedding\.)"])
        learning = {name for name, p in model.named_parameters() if p.requires_grad}
        assert learning == {name for name, _ in model.named_parameters() if name.startswith("pointmap_embedding.")}

    def test_a_pattern_without_a_match_is_a_mistake(self, model) -> None:
        with pytest.raises(ValueError, match="'enc_blocks' matches no parameter of LocalToWorld"):
            freeze(model, ["decoder", "enc_blocks"])


class TestSchedule:
    """Linear warm-up, then half a cosine to the minimum."""

    CONFIG = OptimizerConfig(learning_rate=1e-3, min_learning_rate=1e-5, warmup_steps=10)

    def rates(self, config: OptimizerConfig, total: int, steps: int) -> list[float]:
        optimizer, schedule = build_optimizer(nn.Linear(2, 2), config, total)
        rates = []
        for _ in range(steps):
            rates.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            schedule.step()
        assert all(group["lr"] == optimizer.param_groups[0]["lr"] for group in optimizer.param_groups)
        return rates

    def test_shape(self) -> None:
        rates = self.rates(self.CONFIG, total=110, steps=111)
        assert rates[:10] == pytest.approx([1e-4 * step for step in range(10)])
        assert rates[10] == max(rates) == pytest.approx(1e-3)
        assert rates[60] == pytest.approx((1e-3 + 1e-5) / 2)  # half way down
        assert rates[110] == pytest.approx(1e-5)
        assert all(later < earlier for earlier, later in itertools.pairwise(rates[10:]))

    def test_it_stays_at_the_minimum_beyond_the_end(self) -> None:
        assert self.rates(self.CONFIG, total=20, steps=30)[-5:] == pytest.approx([1e-5] * 5)

    def test_no_warm_up(self) -> None:
        config = OptimizerConfig(learning_rate=1e-3, warmup_steps=0)
        assert self.rates(config, total=10, steps=1) == pytest.approx([1e-3])

    def test_hyper_parameters_reach_the_optimizer(self) -> None:
        optimizer, _ = build_optimizer(nn.Linear(2, 2), OptimizerConfig(weight_decay=0.3), 10)
        assert isinstance(optimizer, torch.optim.AdamW)
        assert [group["weight_decay"] for group in optimizer.param_groups] == [0.3, 0.0]
        assert all(group["betas"] == (0.9, 0.95) for group in optimizer.param_groups)
