"""Every result fits the schema, says what it rests on, and the report is made from it alone."""

from __future__ import annotations

import copy
import json
import statistics
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from benchmarks import report
from benchmarks.common import Measured, check_result, write_result
from benchmarks.memory_watch import POINTS, thin
from benchmarks.record import case, ratio, spread
from benchmarks.suite import LONG, NAMES

ROOT = Path(report.__file__).parent
FILES = sorted((ROOT / "results").glob("*.json"))


def loaded(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text())
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_result_fits_the_schema_and_its_own_figures(path: Path) -> None:
    result = loaded(path)
    check_result(result)
    assert result["benchmark"] == path.stem
    assert "/" not in json.dumps(result["machine"])
    spreads = [one[key] for one in result["cases"] for key in one if key in ("seconds", "peak_mib")]
    for one in [*spreads, *result["ratios"]]:
        # Rounded, as the values are: to a thousandth, or a MiB.
        middle = statistics.median(one["each"])
        assert one["median"] == pytest.approx(middle, rel=1e-3, abs=1e-3)
        assert one["range"] == [min(one["each"]), max(one["each"])]
    for one in result["ratios"]:
        if "bar" in one:
            above = one["median"] >= one["bar"]["value"]
            below = one["median"] <= one["bar"]["value"]
            assert one["met"] == (above if one["bar"]["sense"] == ">=" else below)


def test_every_benchmark_of_the_suite_has_a_published_result() -> None:
    assert FILES
    assert {path.stem for path in FILES} == {*NAMES, *LONG}


BODY = {
    "title": "Something measured twice",
    "settings": {"size": 3},
    "cases": [
        case("a", [Measured(2.0, 1.0, 2**20, None)], work=(4, "tiles"), n=1),
        case("b", [Measured(1.0, 1.0, 2**20, None)], work=(4, "tiles"), n=1),
    ],
    "ratios": [ratio("a ÷ b", [2.0], [1.0], bar=(">=", 3.0), missing="it is slow")],
    "curves": [{"over": "n", "label": "n", "cases": ["a"]}],
}


@pytest.mark.parametrize(
    "spoil",
    [
        lambda body: body["cases"].clear(),
        lambda body: body["cases"][0].pop("parameters"),
        lambda body: body["cases"][0]["seconds"].pop("range"),
        lambda body: body["ratios"][0].pop("met"),
        lambda body: body.update(remark="of no known kind"),
    ],
)
def test_what_does_not_fit_the_schema_is_not_written(spoil: Any, tmp_path: Path) -> None:
    body = copy.deepcopy(BODY)
    spoil(body)
    with pytest.raises(jsonschema.ValidationError):
        write_result("spoilt", body, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_report_is_made_from_the_files_alone(tmp_path: Path) -> None:
    write_result("small", BODY, tmp_path / "results")
    page = report.report(tmp_path / "results", tmp_path / "report.md")
    text = page.read_text()
    assert "**missed**" in text
    assert "it is slow" in text
    assert "| a ÷ b | seconds | 2 |" in text
    pictures = sorted(path.name for path in (tmp_path / "report").iterdir())
    assert pictures == ["small-scaling.png", "small-throughput.png"]
    assert all(f"report/{name}" in text for name in pictures)


def test_the_published_report_is_that_of_the_published_results(tmp_path: Path) -> None:
    page = report.report(ROOT / "results", tmp_path / "report.md")
    assert page.read_text() == (ROOT / "report.md").read_text()


def test_a_ratio_pairs_neighbouring_runs() -> None:
    found = ratio("a ÷ b", [4.0, 9.0, 1.0], [2.0, 3.0, 1.0], bar=("<=", 2.0))
    assert found["each"] == [2.0, 3.0, 1.0]
    assert (found["median"], found["range"], found["met"]) == (2.0, [1.0, 3.0], True)
    assert spread([3, 1, 2])["median"] == 2


def test_a_series_keeps_its_peaks_and_is_as_long_as_the_clock_ran() -> None:
    samples = [(100 + k / 100, (k % 50) * 2**20) for k in range(5000)]
    kept = thin(samples, 110.0, 30.0)
    assert len(kept["mib"]) <= POINTS
    assert kept["seconds"][0] >= 0
    assert kept["seconds"][-1] <= 30
    assert max(kept["mib"]) == 49
