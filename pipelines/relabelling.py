"""Does the method work? Train on spoilt labels, predict, relabel, train again, twice.

    python -m pipelines.relabelling DIRECTORY RESULT.json

30 % of the letters' labels are missing or wrong. Scores are of a segment never trained on.
"""

import json
import shutil
import sys
from dataclasses import asdict
from pathlib import Path

import s5engine as s5
from s5engine.phantom import Phantom, spoil_label, write_labelled

SETTINGS = Path(__file__).with_name("relabelling.toml")
RULE = {"ink_above": 0.8, "margin": 12, "drawn": "question"}
TEXTS = ("ΠΕΡΙ ΤΩΝ ΦΙΛΟΔΗΜΟΥ ΛΟΓΩΝ", "ΖΗΝΩΝ ΕΦΗ ΤΑΣ ΨΥΧΑΣ", "ΒΙΟΣ ΚΑΙ ΘΑΝΑΤΟΣ ΞΕΝΩΝ", "ΑΡΧΗ ΚΟΣΜΟΥ")
SIZE, CONTRAST, WINDOWS, ROUNDS, SPOILT = (512, 1024), 5.0, (2, 4), 2, 0.3


def compare(folder: Path) -> dict[str, object]:
    """Return the held-out score after each training."""
    settings, volumes = s5.read_train_settings(SETTINGS), []
    for k, text in enumerate(TEXTS):
        phantom = Phantom(*SIZE, seed=300 + k, text=text, ink_contrast=CONTRAST, letter_height=90)
        truth, papyrus = phantom.ink(), phantom.papyrus()  # in the end those of the last
        label = spoil_label(truth, papyrus, share=SPOILT, seed=k)
        volumes.append(write_labelled(phantom, folder, segment=f"loop{k}", label=label))
    *parts, held_out = (s5.parts(s5.contrast(volume))[1] for volume in volumes)

    def fit(name: str, labels: Path, epochs: int = 1, **start: Path) -> Path:
        store = folder / f"{name}.zarr"
        tiles = s5.build_tileset(parts, labels, store, tile=64, stride=32, packed=True)
        return s5.train(tiles, folder / name, settings=settings, epochs=epochs, **start)

    def score(path: Path) -> dict[str, float]:
        ink = s5.predict_ink(held_out, s5.load_checkpoint(path), windows=WINDOWS, stride=32, tta=0)
        return asdict(s5.score_ink(ink.mean("window"), truth, papyrus))

    labels = spoilt = folder / "labels"
    once = best = fit("once", labels, epochs=2)
    scores = {"once": score(once)}
    for n in range(1, ROUNDS + 1):
        model, proposed = s5.load_checkpoint(best), folder / f"labels{n}"
        for k, part in enumerate(parts):
            ink = s5.predict_ink(part, model, windows=WINDOWS, stride=32, tta=1, spread=True)
            old, new = labels / f"loop{k}_01", proposed / f"loop{k}_01"
            run = s5.write_run(ink, folder / f"run{n}_{k}")
            s5.relabel(run, old, new, **RULE)
            shutil.copy(old / "mask.png", new)
        labels, best = proposed, fit(f"round{n}", proposed, checkpoint=best)
        once = fit(f"longer{n}", spoilt, checkpoint=once)
        scores |= {f"{n} rounds": score(best), f"once, as long as {n} rounds": score(once)}
    return {"spoilt": SPOILT, "rule": RULE, "ink_contrast": CONTRAST, "held_out": scores}


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(json.dumps(compare(Path(sys.argv[1])), indent=2))
