"""`InkModel`: what it takes and returns, where it runs, how it travels."""

from __future__ import annotations

import pickle
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch
from torch import Tensor

from parity.golden_weights import CONFIGS, golden_network, golden_tile
from s5engine.errors import CheckpointError, CheckpointNotFoundError, InvalidArgumentError
from s5engine.model import (
    InkModel,
    NetworkConfig,
    build_model,
    from_network,
    load_checkpoint,
    save_checkpoint,
    wrap_model,
)

TINY = CONFIGS["tiny"]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_checkpoint(
        tmp_path_factory.mktemp("model") / "tiny.ckpt", golden_network("tiny"), TINY
    )


@pytest.fixture
def model(path: Path) -> InkModel:
    return load_checkpoint(path, device="cpu")


def test_a_loaded_model_returns_the_golden_logits(model: InkModel) -> None:
    tile, golden = golden_tile("tiny")
    logits = model.logits(tile)
    assert logits.dtype == torch.float32
    assert (logits - golden).abs().max() < 1e-4
    assert torch.equal(model.probabilities(tile), torch.sigmoid(logits))


def test_a_model_says_what_it_is(model: InkModel, path: Path) -> None:
    from s5engine.model.checkpoint import file_sha256

    assert (model.tile, model.layers, model.reduction) == (64, 16, 4)
    assert (str(model.device), model.precision, model.name) == ("cpu", "float32", "tiny")
    assert model.sha256 == file_sha256(path)
    assert model.config == TINY
    assert "16 × 64 × 64" in repr(model)


def test_the_plain_network_is_there_for_training(model: InkModel) -> None:
    tile, golden = golden_tile("tiny")
    with torch.inference_mode():
        assert (model.network(tile[:, None]) - golden).abs().max() < 2e-5
    assert model.network is model.network


def test_no_tiles_give_no_logits(model: InkModel) -> None:
    assert model.logits(torch.zeros(0, 16, 64, 64)).shape == (0, 16, 16)


@pytest.mark.parametrize(
    ("tiles", "says"),
    [
        (torch.zeros(1, 16, 32, 64), r"\(1, 16, 32, 64\)"),
        (torch.zeros(1, 15, 64, 64), r"\(1, 15, 64, 64\)"),
        (torch.zeros(16, 64, 64), r"\(16, 64, 64\)"),
        (torch.zeros(1, 16, 64, 64, dtype=torch.uint8), "uint8"),
        (torch.zeros(1, 16, 64, 64).numpy(), "ndarray"),
    ],
)
def test_tiles_that_do_not_fit_are_refused(model: InkModel, tiles: Tensor, says: str) -> None:
    with pytest.raises(InvalidArgumentError, match=says):
        model.logits(tiles)


def test_a_tile_does_not_depend_on_its_companions(model: InkModel) -> None:
    """With the same batch size the other tiles must not matter at all beyond rounding."""
    tile, golden = golden_tile("tiny")
    scale = float(golden.abs().max())
    torch.manual_seed(0)
    alone = model.logits(tile.repeat(4, 1, 1, 1))[0]
    for place in range(4):
        batch = torch.rand(4, 16, 64, 64)
        batch[place] = tile[0]
        logits = model.logits(batch)
        assert (logits[place] - alone).abs().max() <= 1e-6 * scale
        assert (logits[place - 1] - alone).abs().max() > 1e-3 * scale  # the others are others


def test_the_batch_size_changes_no_more_than_rounding(model: InkModel) -> None:
    tile, golden = golden_tile("tiny")
    single = model.logits(tile)[0]
    for count in (2, 3, 5):
        batch = model.logits(tile.repeat(count, 1, 1, 1))
        assert (batch - single).abs().max() <= 1e-5 * float(golden.abs().max())


def test_an_absent_device_is_an_error_and_never_replaced(path: Path) -> None:
    absent = f"cuda:{torch.cuda.device_count()}"
    for build in (
        lambda: load_checkpoint(path, device=absent),
        lambda: build_model(TINY, seed=0, device=absent),
    ):
        with pytest.raises(InvalidArgumentError, match="not available"):
            build()
    with pytest.raises(InvalidArgumentError, match="not a device"):
        load_checkpoint(path, device="gpu")
    with pytest.raises(CheckpointNotFoundError):
        load_checkpoint(path.with_name("absent.ckpt"))


def test_precision_is_chosen_or_refused(model: InkModel) -> None:
    tile, golden = golden_tile("tiny")
    rough = model.with_precision("bfloat16")
    assert (rough.precision, model.precision) == ("bfloat16", "float32")
    logits = rough.logits(tile)
    assert logits.dtype == torch.float32
    error = (logits - golden).abs().max()
    assert 1e-4 < error < 0.2  # really computed in 8 bits of mantissa, and sensibly
    assert rough.with_precision("auto").precision == "float32"
    with pytest.raises(InvalidArgumentError, match="'float16' is not computed on cpu"):
        model.with_precision("float16")
    with pytest.raises(InvalidArgumentError, match="float8"):
        model.with_precision("float8")


def test_a_model_travels_as_path_and_settings(model: InkModel) -> None:
    rough = model.with_precision("bfloat16")
    data = pickle.dumps(rough)
    assert len(data) < 2000
    copy = pickle.loads(data)
    assert copy.precision == "bfloat16"
    assert copy.sha256 == model.sha256
    tile, _ = golden_tile("tiny")
    assert torch.equal(copy.logits(tile), rough.logits(tile))
    # Loaded once in this process: the weights are the same object.
    assert copy._run is model._run


def test_another_process_loads_the_file_once(path: Path, tmp_path: Path) -> None:
    model = load_checkpoint(path, device="cpu")
    tile, _ = golden_tile("tiny")
    (tmp_path / "model").write_bytes(pickle.dumps([model, model.with_precision("float32")]))
    torch.save((tile, model.logits(tile)), tmp_path / "expected")
    script = (
        "import pickle, sys, torch\n"
        "import s5engine.model.checkpoint as c, s5engine.model.sources as s\n"
        "reads = []\n"
        "real = s.read_checkpoint\n"
        "s.read_checkpoint = lambda *a, **k: (reads.append(a), real(*a, **k))[1]\n"
        "first = pickle.load(open(sys.argv[1] + '/model', 'rb'))\n"
        "again = pickle.load(open(sys.argv[1] + '/model', 'rb'))\n"
        "tile, expected = torch.load(sys.argv[1] + '/expected')\n"
        "got = [m.logits(tile) for m in first + again]\n"
        "assert all((g - expected).abs().max() < 1e-5 for g in got)\n"
        "print(len(reads))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == "1", done.stderr


def test_a_replaced_file_is_noticed(tmp_path: Path) -> None:
    path = save_checkpoint(tmp_path / "a.ckpt", golden_network("tiny"), TINY)
    model = load_checkpoint(path, device="cpu")
    data = pickle.dumps(model)
    save_checkpoint(path, golden_network("tiny"), TINY, epoch=1)
    with pytest.raises(CheckpointError, match="was replaced"):
        _ = model.network
    from s5engine.model import ink_model

    ink_model._cache.clear()  # as in a process that has not loaded it yet
    with pytest.raises(CheckpointError, match="was replaced"):
        pickle.loads(data)


def test_an_untrained_model_is_the_same_for_the_same_seed() -> None:
    before = torch.random.get_rng_state()
    first = build_model(TINY, seed=3, device="cpu")
    assert torch.equal(torch.random.get_rng_state(), before)
    tile, _ = golden_tile("tiny")
    from s5engine.model import ink_model

    ink_model._cache.clear()
    again = pickle.loads(pickle.dumps(first))
    other = build_model(TINY, seed=4, device="cpu")
    assert torch.equal(first.logits(tile), again.logits(tile))
    assert not torch.equal(first.logits(tile), other.logits(tile))
    assert first.sha256 is None
    assert first.logits(tile).isfinite().all()


def test_a_network_in_training_gives_a_model_of_its_present_weights() -> None:
    network = golden_network("tiny").train()
    tile, golden = golden_tile("tiny")
    model = from_network(network, name="epoch 3", device="cpu")
    network.encoder_2d.decode_head.classifier.bias.data += 5
    assert network.training
    assert (model.logits(tile) - golden).abs().max() < 1e-4
    assert (model.name, model.sha256) == ("epoch 3", None)
    copy = pickle.loads(pickle.dumps(model))
    assert torch.equal(copy.logits(tile), model.logits(tile))


def test_one_thread_at_a_time_runs_on_a_device() -> None:
    inside, most = 0, 0

    def count(tiles: Tensor) -> Tensor:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        time.sleep(0.01)
        inside -= 1
        return tiles[:, 0, ::4, ::4].contiguous()

    models = [wrap_model(count, tile=32), wrap_model(count, tile=32)]
    tiles = torch.rand(1, 16, 32, 32)
    threads = [threading.Thread(target=models[i % 2].logits, args=(tiles,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1


def test_the_default_config_is_the_submission() -> None:
    assert NetworkConfig() == CONFIGS["b3"]
