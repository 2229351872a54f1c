"""Who may import whom: downward only, and nothing heavy when the package is imported."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import s5engine

PACKAGE = Path(s5engine.__file__).parent
ROOT = PACKAGE.parent

#: Room → rank. A room may import rooms of a lower rank, and itself.
RANKS = {
    "errors": 0,
    "geometry": 1,
    "settings_file": 1,
    "address": 1,
    "paths": 1,
    "alignment": 1,
    "console": 1,
    "budget": 1,
    "foreign": 1,
    "atomic": 1,
    "lock": 1,
    "known": 1,
    "runtime": 2,
    "source": 2,
    "store": 3,
    "ops": 4,
    "model": 4,
    "infer": 5,
    "training": 5,
    "view": 6,
    "phantom": 6,
    "local_workers": 6,
    "scheduling": 6,
    "labels": 6,
    "cli_options": 7,
    "cli_arguments": 7,
    "cli_info": 7,
    "cli_check": 7,
    "cli_look": 7,
    "cli_training": 7,
    "cli": 8,
}
#: Rooms that stay ignorant of these libraries.
FORBIDDEN = {
    "ops": {"torch"},
    "model": {"dask", "zarr", "xarray", "distributed"},
    "geometry": {"dask", "zarr", "xarray", "torch", "aiohttp", "fsspec"},
}
#: Same rank, side by side: neither knows the other.
SEPARATE = [{"ops", "model"}, {"infer", "training"}]
PUBLIC = {"s5engine", "s5engine.phantom", "s5engine.model", "s5engine.errors"}


def imports(file: Path) -> Iterator[str]:
    """Yield the modules that a file imports anywhere but for type checking alone."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    skipped = {
        id(node)
        for test in ast.walk(tree)
        if isinstance(test, ast.If) and "TYPE_CHECKING" in ast.dump(test.test)
        for child in test.body
        for node in ast.walk(child)
    }
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield str(node.module)
            if node.module == "s5engine":
                yield from (f"s5engine.{alias.name}" for alias in node.names)
            elif (PACKAGE.parent / str(node.module).replace(".", "/")).is_dir():
                yield from (f"{node.module}.{alias.name}" for alias in node.names)


def room(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


FILES = [f for f in sorted(PACKAGE.rglob("*.py")) if f != PACKAGE / "__init__.py"]


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(PACKAGE)))
def test_a_room_imports_only_rooms_below_it(file: Path) -> None:
    own = file.relative_to(PACKAGE).parts[0].removesuffix(".py")
    for module in imports(file):
        assert module.split(".")[0] not in FORBIDDEN.get(own, set()), module
        if not module.startswith("s5engine."):
            continue
        other = room(module)
        if other in RANKS and other != own and own != "cli":
            assert RANKS[other] <= RANKS[own], f"{own} imports {other}"
            assert not any({own, other} <= pair for pair in SEPARATE), f"{own} imports {other}"


def test_no_file_imports_itself_by_way_of_others() -> None:
    names = {
        ".".join((PACKAGE.name, *f.relative_to(PACKAGE).with_suffix("").parts)): f for f in FILES
    }
    needs = {name: {m for m in imports(file) if m in names} for name, file in names.items()}
    order = [*TopologicalSorter(needs).static_order()]  # raises if there is a circle
    assert order.index("s5engine.errors") < order.index("s5engine.cli")
    with pytest.raises(CycleError):
        [*TopologicalSorter(needs | {"s5engine.errors": {"s5engine.cli"}}).static_order()]


@pytest.mark.parametrize("folder", ["pipelines", "benchmarks"])
def test_pipelines_and_benchmarks_use_public_names(folder: str) -> None:
    files = list((ROOT / folder).rglob("*.py"))
    assert files
    for file in files:
        used = {m for m in imports(file) if m.startswith("s5engine")}
        inside = PUBLIC - {"s5engine"}
        names = {m for m in used if m not in PUBLIC and m.rpartition(".")[0] not in inside}
        assert names <= {f"s5engine.{n}" for n in s5engine.__all__}, (file.name, names)


@pytest.mark.parametrize("file", sorted((ROOT / "pipelines").glob("*.py")), ids=lambda f: f.name)
def test_a_pipeline_fits_on_a_screen(file: Path) -> None:
    assert len(file.read_text(encoding="utf-8").splitlines()) <= 60


@pytest.mark.parametrize("statement", ["import s5engine", "import s5engine.cli"])
def test_importing_loads_nothing_heavy(statement: str) -> None:
    heavy = "torch dask xarray zarr numpy scipy distributed aiohttp cv2 PIL"
    code = f"{statement}, sys; print(*(m for m in {heavy.split()!r} if m in sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.split() == []


def test_every_public_name_is_there_and_documented() -> None:
    for name in s5engine.__all__:
        assert getattr(s5engine, name).__doc__, name
    with pytest.raises(AttributeError, match="nonsense"):
        _ = s5engine.nonsense
