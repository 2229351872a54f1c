"""Does the method work? Train on spoilt labels, predict, relabel, train again, twice.

    python -m pipelines.relabelling DIRECTORY RESULT.json

30 % of the letters' labels are removed or set where there is no ink. Held-out F1 is measured on a
segment that is never trained on: after training once, after each round of correction, and, to be
fair, after training on the spoilt labels for as many epochs as all rounds together.
"""

import json
import shutil
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import xarray as xr

import s5engine as s5
from s5engine.phantom import Phantom, spoil_label, write_labelled

SETTINGS = Path(__file__).with_name("relabelling.toml")
TEXTS = (
    "ΠΕΡΙ ΤΩΝ\nΦΙΛΟΔΗΜΟΥ\nΛΟΓΩΝ", "ΖΗΝΩΝ ΕΦΗ\nΤΑΣ ΨΥΧΑΣ\nΗΔΟΝΗΝ",
    "ΒΙΟΣ ΚΑΙ\nΘΑΝΑΤΟΣ\nΞΕΝΩΝ", "ΑΡΧΗ ΤΟΥ\nΚΟΣΜΟΥ\nΠΥΡ ΓΗ",
)  # fmt: skip
SIZE, CONTRAST, WINDOWS, ROUNDS, SPOILT = (512, 1024), 4.0, (2, 4), 2, 0.3


def rounds(folder: Path) -> dict[str, Any]:
    """Return the held-out scores of every round."""
    settings = s5.read_train_settings(SETTINGS)
    *seen, unseen = (
        Phantom(*SIZE, seed=300 + k, text=t, ink_contrast=CONTRAST) for k, t in enumerate(TEXTS)
    )
    spoilt = [spoil_label(p.ink(), p.papyrus(), share=SPOILT, seed=k) for k, p in enumerate(seen)]
    *volumes, held_out = (
        write_labelled(p, folder, segment=f"loop{k}", label=label)
        for k, (p, label) in enumerate(zip([*seen, unseen], [*spoilt, None], strict=True))
    )
    parts = [s5.parts(s5.contrast(volume))[1] for volume in volumes]

    def fit(name: str, labels: Path, **start: Path) -> Path:
        store = folder / f"{name}.zarr"
        tiles = s5.build_tileset(parts, labels, store, tile=64, stride=32, packed=True)
        return s5.train(tiles, folder / name, settings=settings, **start)

    def predict(part: xr.DataArray, checkpoint: Path, **how: Any) -> xr.DataArray:
        model = s5.load_checkpoint(checkpoint)
        return s5.predict_ink(part, model, windows=WINDOWS, stride=32, **how)

    def score(checkpoint: Path) -> dict[str, float]:
        ink = predict(s5.contrast(held_out), checkpoint, tta=0).mean("window")
        return asdict(s5.score_ink(ink, unseen.ink(), unseen.papyrus()))

    once = best = fit("once", folder / "labels")
    scores = {"once": score(once)}
    labels = folder / "labels"
    for n in range(1, ROUNDS + 1):
        proposed = folder / f"labels{n}"
        for i, part in enumerate(parts):
            name = f"loop{i}_01"
            run = s5.write_run(predict(part, best, tta=1, spread=True), folder / f"run{n}" / name)
            s5.relabel(run, labels / name, proposed / name, drawn="question")
            shutil.copy(labels / name / "mask.png", proposed / name)
        labels, best = proposed, fit(f"round{n}", proposed, checkpoint=best)
        scores[f"round {n}"] = score(best)
    for n in range(1, ROUNDS + 1):  # as many epochs on the labels as they were
        once = fit(f"longer{n}", folder / "labels", checkpoint=once)
    return scores | {"once, as long as all rounds": score(once)}


if __name__ == "__main__":
    scores = rounds(Path(sys.argv[1]))
    Path(sys.argv[2]).write_text(json.dumps({"spoilt": SPOILT, "held_out": scores}, indent=2))
