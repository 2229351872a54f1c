"""The OpenVINO backend against torch's, and what is said where it cannot be."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

import s5engine as s5
from parity.golden_weights import golden_network, golden_tile
from s5engine.errors import InvalidArgumentError, MissingExtraError, ResumeError
from s5engine.infer import fit
from s5engine.model import NetworkConfig, build_model, ink_model, openvino_backend, save_checkpoint
from s5engine.model.ink_model import _cached
from s5engine.model.openvino_backend import OpenVINONetwork
from support import noise, volume_of


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    network = golden_network("tiny")
    return save_checkpoint(tmp_path_factory.mktemp("tiny") / "t.ckpt", network, network.config)


@pytest.fixture(autouse=True)
def _empty_cache() -> Iterator[None]:
    ink_model._cache.clear()
    yield
    ink_model._cache.clear()


@pytest.fixture(scope="module")
def model(checkpoint: Path) -> s5.InkModel:
    return s5.load_checkpoint(checkpoint, device="cpu", backend="openvino")


def batch(n: int) -> torch.Tensor:
    tile, _ = golden_tile("tiny")
    return torch.cat([tile.roll(7 * i, dims=-1) for i in range(n)])


@pytest.mark.slow
@pytest.mark.parametrize("n", [1, 2, 3])
def test_it_answers_as_torch_does(model: s5.InkModel, checkpoint: Path, n: int) -> None:
    plain = s5.load_checkpoint(checkpoint, device="cpu")
    assert (model.backend, plain.backend) == ("openvino", "torch")
    got, expected = model.probabilities(batch(n)), plain.probabilities(batch(n))
    assert got.dtype == torch.float32
    assert (got - expected).abs().max() <= 1e-5


def test_an_answer_is_not_overwritten_by_the_next(model: s5.InkModel) -> None:
    tiles = batch(2)
    first = model.logits(tiles)
    kept = first.clone()
    assert not torch.equal(model.logits(tiles.flip(0)), kept)
    assert torch.equal(first, kept)
    assert torch.equal(model.logits(tiles), kept)


@pytest.mark.slow
def test_the_backend_travels_with_a_pickled_model(model: s5.InkModel) -> None:
    ink_model._cache.clear()
    there = pickle.loads(pickle.dumps(model))
    assert there.backend == "openvino"
    assert torch.equal(there.logits(batch(2)), model.logits(batch(2)))


def test_auto_says_what_it_takes_and_takes_the_faster(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for told, chosen in (((2.0, 1.0), "openvino"), ((1.0, 2.0), "torch")):
        ink_model._cache.clear()
        times = iter(told)
        monkeypatch.setattr(openvino_backend, "_seconds", lambda *_, times=times: next(times))
        found = s5.load_checkpoint(checkpoint, device="cpu", backend="auto")
        assert found.backend == chosen
        said = capfd.readouterr()
        assert f"backend: {chosen} (a batch of 2 tiles took torch" in said.err
        assert not said.out
        assert s5.load_checkpoint(checkpoint, device="cpu", backend="auto") is found
        assert not capfd.readouterr().err  # once for each process


def test_without_the_package(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(openvino_backend, "is_installed", lambda: False)
    with pytest.raises(MissingExtraError, match=r"s5engine\[fast\]"):
        s5.load_checkpoint(checkpoint, device="cpu", backend="openvino")
    assert s5.load_checkpoint(checkpoint, device="cpu", backend="auto").backend == "torch"
    assert "openvino is not installed" in capfd.readouterr().err


def test_what_it_cannot_do_is_refused_by_name(model: s5.InkModel, checkpoint: Path) -> None:
    with pytest.raises(InvalidArgumentError, match="onnx"):
        s5.load_checkpoint(checkpoint, backend="onnx")
    with pytest.raises(InvalidArgumentError, match="openvino computes in float32"):
        model.with_precision("bfloat16")
    with pytest.raises(InvalidArgumentError, match="CPU, not on cuda:0"):
        openvino_backend.check_backend("openvino", torch.device("cuda:0"))


def test_a_run_says_its_backend_and_is_not_continued_by_another(
    model: s5.InkModel, checkpoint: Path, tmp_path: Path
) -> None:
    volume = volume_of(noise((16, 2 * model.tile, 2 * model.tile)))
    asked = {"windows": [0], "stride": model.tile, "tta": 0, "batch": 2}
    ink = s5.predict_ink(volume, model, **asked)
    run = s5.write_run(ink, tmp_path / "run", progress=False)
    assert run.record["settings"]["backend"] == "openvino"
    other = s5.predict_ink(volume, s5.load_checkpoint(checkpoint, device="cpu"), **asked)
    np.testing.assert_allclose(run.ink.values, other.values, atol=1e-5)
    with pytest.raises(ResumeError, match="backend"):
        s5.write_run(other, tmp_path / "run", progress=False)


def test_the_projection_counts_what_openvino_holds(model: s5.InkModel, checkpoint: Path) -> None:
    plain = s5.load_checkpoint(checkpoint, device="cpu")
    assert fit.working_bytes(model, 2) > fit.working_bytes(plain, 2) + 100 * 2**20
    # All of it stays while ink is blended, of torch's at most a part.
    assert fit.kept_bytes(model, 2) == fit.working_bytes(model, 2)
    assert fit.kept_bytes(plain, 2) < fit.working_bytes(plain, 2)


@pytest.mark.slow
def test_the_submission_of_2025_in_both() -> None:
    torch.manual_seed(0)
    plain = build_model(NetworkConfig.preset("b3"), seed=0, device="cpu")
    assert plain._origin is not None
    source = plain._origin[0]
    other = _cached(source, "cpu", source.network, "openvino")
    tiles = torch.rand(2, 16, plain.tile, plain.tile)
    assert (other.probabilities(tiles) - plain.probabilities(tiles)).abs().max() <= 1e-5


@pytest.mark.slow
def test_making_ready_says_nothing_and_leaves_logging_as_it_was(
    checkpoint: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    model = s5.load_checkpoint(checkpoint, device="cpu", backend="openvino")
    model.logits(batch(1))
    said = capfd.readouterr()
    assert (said.out, said.err) == ("", "")
    logging.getLogger("after").warning("heard")
    loud = [record.message for record in caplog.records if record.levelno >= logging.WARNING]
    assert loud == ["heard"]


def test_two_sizes_of_batch_are_kept() -> None:
    network = OpenVINONetwork(torch.nn.Conv2d(1, 1, 3).eval())
    with torch.inference_mode():
        for n in (1, 2, 3):
            network(torch.rand(n, 1, 4, 4))
    assert [shape[0] for shape in network._requests] == [2, 3]
