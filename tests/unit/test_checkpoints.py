"""What is committed under checkpoints/ is what its manifest says."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

import s5engine as s5
from s5engine.model import read_checkpoint

FOLDER = Path(__file__).parents[2] / "checkpoints"
MANIFEST = tomllib.loads((FOLDER / "manifest.toml").read_text(encoding="utf-8"))


def test_every_checkpoint_is_listed() -> None:
    assert {path.stem for path in FOLDER.glob("*.ckpt")} == set(MANIFEST)


@pytest.mark.parametrize("name", sorted(MANIFEST))
def test_a_checkpoint_is_the_listed_one(name: str) -> None:
    known = MANIFEST[name]
    found = read_checkpoint(FOLDER / known["file"])
    assert found.sha256 == known["sha256"]
    assert found.path.stat().st_size <= 3_000_000
    assert (Path(__file__).parents[2] / known["recipe"]).is_file()
    assert s5.load_checkpoint(found.path, device="cpu").tile == known["tile"]
