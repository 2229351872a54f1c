"""Do two rounds of relabelling help? The pipeline's own answer, as a result like the others.

Half an hour on two cores: it is not part of ``make bench``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.record import ratio
from benchmarks.scratch import scratch

TITLE = "The relabelling loop: two rounds of proposing labels against training as long"
BENCH: dict[str, Any] = {}


def measure(root: Path | None) -> dict[str, Any]:
    """Run ``pipelines.relabelling``."""
    from pipelines.relabelling import compare

    with scratch(root) as folder:
        found: dict[str, Any] = compare(folder)
    return body(found)


def body(found: dict[str, Any]) -> dict[str, Any]:
    """Return the result of what the pipeline says."""
    scores = found["held_out"]
    rounds, once, longer = (
        [scores[name]["f1"]] for name in ("2 rounds", "once", "once, as long as 2 rounds")
    )
    f1: dict[str, Any] = {"of": "held-out F1", "bar": (">=", 1.0)}
    return {
        "title": TITLE,
        "settings": {name: value for name, value in found.items() if name != "held_out"},
        "cases": [
            {"name": name, "parameters": {}, "figures": score} for name, score in scores.items()
        ],
        "ratios": [
            ratio("2 rounds ÷ once", rounds, once, **f1),
            ratio("2 rounds ÷ as long on spoilt labels", rounds, longer, **f1),
        ],
    }
