"""The demo installs what it needs, at the tests' versions, and nothing else."""

from __future__ import annotations

import subprocess
import tomllib
from functools import cache
from importlib import metadata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def pins(name: str) -> dict[str, str]:
    lines = (ROOT / name).read_text().splitlines()
    pinned = (line.split("==") for line in lines if "==" in line and not line.startswith(" "))
    return {canonicalize_name(package): version.strip() for package, version in pinned}


DEMO, TESTS = pins("requirements-demo.lock"), pins("requirements.lock")


def needs(requirements: list[str]) -> set[str]:
    """Return what these requirements install at once, on this machine."""
    found = (Requirement(text) for text in requirements)
    return {
        f"{canonicalize_name(need.name)}[{','.join(sorted(need.extras))}]"
        for need in found
        if need.marker is None or need.marker.evaluate({"extra": ""})
    }


@cache
def closure() -> frozenset[str]:
    """Return the packages that the project's own dependencies lead to."""
    seen: set[str] = set()
    waiting = needs(PROJECT["dependencies"])
    while waiting:
        package = waiting.pop()
        if package in seen:
            continue
        seen.add(package)
        name, _, extras = package.rstrip("]").partition("[")
        for text in metadata.requires(name) or ():
            need = Requirement(text)
            wanted = [{"extra": extra} for extra in ("", *extras.split(","))]
            if need.marker is None or any(need.marker.evaluate(extra) for extra in wanted):
                waiting |= needs([text.partition(";")[0]])
    return frozenset(package.partition("[")[0] for package in seen)


@given(st.sampled_from(sorted(TESTS)))
@settings(max_examples=200)
def test_each_package_of_the_tests_is_in_the_demo_only_if_it_is_needed(package: str) -> None:
    if package in DEMO:
        assert package in closure()
        assert DEMO[package] == TESTS[package]
    elif package in closure():
        # torch's build for GPUs brings its own; the lock is made where there is none.
        assert package.startswith(("nvidia-", "cuda-", "triton")), package


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-demo.lock"])
def test_torch_is_pinned_without_its_build(name: str) -> None:
    assert pins(name)["torch"] == "2.13.0"


def test_every_dependency_of_the_project_is_in_the_demo_and_no_tool_of_the_tests() -> None:
    wanted = {canonicalize_name(Requirement(text).name) for text in PROJECT["dependencies"]}
    assert wanted <= DEMO.keys()
    assert not DEMO.keys() & {"pytest", "hypothesis", "mypy", "ruff", "napari", "monai"}
    assert len(DEMO) < len(TESTS) / 2


def test_make_demo_reads_its_own_lock_where_nothing_is_installed(tmp_path: Path) -> None:
    for name in ("Makefile", "pyproject.toml", "requirements.lock", "requirements-demo.lock"):
        (tmp_path / name).write_text((ROOT / name).read_text())
    told = subprocess.run(
        ["make", "-n", "demo"], cwd=tmp_path, capture_output=True, text=True, check=True
    ).stdout
    assert "-r requirements-demo.lock" in told
    assert "-r requirements.lock" not in told
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / ".ready").touch()
    told = subprocess.run(
        ["make", "-n", "demo"], cwd=tmp_path, capture_output=True, text=True, check=True
    ).stdout
    assert "pip install" not in told
