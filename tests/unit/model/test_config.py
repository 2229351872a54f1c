"""`NetworkConfig`: the sizes, their checks, and the hyper-parameters of 2025."""

from __future__ import annotations

import pytest

from parity.golden_weights import CONFIGS
from s5engine.errors import CheckpointError, InvalidArgumentError
from s5engine.model.config import NetworkConfig

SUBMISSION = {
    "architecture": "unetr-sf",
    "model_type": "b3",
    "segformer_from_pretrained": "nvidia/mit-b3",
    "mini_unetr": True,
    "unetr_out_channels": 32,
    "in_chans": 16,
    "patch_size": 128,
    "label_size": 32,
    "epsilon": 0.001,
    "lr": 2e-4,
    "batch_size": 32,
}


def test_the_submission_s_hyper_parameters_give_the_defaults() -> None:
    assert NetworkConfig.from_hyper_parameters(SUBMISSION) == NetworkConfig()


def test_full_unetr_and_b5_follow_from_two_names() -> None:
    config = NetworkConfig.from_hyper_parameters(
        SUBMISSION | {"model_type": "b5", "mini_unetr": False}
    )
    assert config == CONFIGS["full_unetr_b5"]
    assert config.segformer_depths == (3, 6, 40, 3)
    assert config.unetr_filters == (512, 256, 128)


@pytest.mark.parametrize("name", CONFIGS)
def test_hyper_parameters_round_trip(name: str) -> None:
    parameters = CONFIGS[name].to_hyper_parameters()
    assert NetworkConfig.from_hyper_parameters(parameters) == CONFIGS[name]
    assert parameters["label_size"] * 4 == parameters["patch_size"]


@pytest.mark.parametrize(
    ("layers", "outputs"),
    [
        (4, (1, 2, 3, 4)),
        (6, (2, 3, 4, 6)),
        (8, (2, 4, 6, 8)),
        (9, (2, 4, 6, 9)),
        (12, (3, 6, 9, 12)),
    ],
)
def test_outputs_lie_at_the_quarters_of_the_depth(layers: int, outputs: tuple[int, ...]) -> None:
    assert NetworkConfig(unetr_layers=layers).output_layers == outputs


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"architecture": "timesformer"}, "timesformer"),
        ({"model_type": "b7"}, "b7"),
        ({"model_type": 3}, "model_type 3"),
        ({"mini_unetr": "yes"}, "mini_unetr"),
        ({"patch_size": 100, "label_size": 25}, "100"),
        ({"patch_size": 128, "label_size": 64}, "label_size 64"),
        ({"patch_size": True}, "patch_size"),
        ({"in_chans": 20}, "20 layers"),
        ({"epsilon": -1.0}, "epsilon"),
        ({"epsilon": float("nan")}, "epsilon"),
        ({"unetr_heads": 7}, "unetr_embed_dim"),
        ({"unetr_layers": 3}, "unetr_layers"),
        ({"unetr_filters": (1, 2)}, "unetr_filters"),
        ({"segformer_widths": [64, 128, 320, "wide"]}, "segformer_widths"),
        ({"segformer_heads": (3, 2, 5, 8)}, "segformer_widths"),
        ({"label_size": "32"}, "label_size"),
    ],
)
def test_wrong_values_are_named(change: dict[str, object], named: str) -> None:
    with pytest.raises(CheckpointError, match=named):
        NetworkConfig.from_hyper_parameters(SUBMISSION | change)


@pytest.mark.parametrize("missing", ["architecture", "model_type", "mini_unetr"])
def test_what_nothing_else_tells_must_be_there(missing: str) -> None:
    parameters = {k: v for k, v in SUBMISSION.items() if k != missing}
    with pytest.raises(CheckpointError, match=missing if missing != "architecture" else "None"):
        NetworkConfig.from_hyper_parameters(parameters)


def test_sizes_that_are_all_there_need_no_names() -> None:
    parameters = CONFIGS["tiny"].to_hyper_parameters()
    del parameters["mini_unetr"]
    assert NetworkConfig.from_hyper_parameters(parameters) == CONFIGS["tiny"]


def test_a_direct_mistake_is_an_invalid_argument() -> None:
    with pytest.raises(InvalidArgumentError, match="multiple of 32"):
        NetworkConfig(tile=48)
    with pytest.raises(InvalidArgumentError, match="b9"):
        NetworkConfig.preset("b9")
