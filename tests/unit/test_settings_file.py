"""Settings files are read strictly."""

from __future__ import annotations

from pathlib import Path

import pytest

import s5engine as s5
from s5engine.geometry import Box

PIPELINES = Path(s5.__file__).parent.parent / "pipelines"


def test_the_title_is_that_of_the_submission() -> None:
    title = s5.read_title_settings(PIPELINES / "title.toml")
    assert title.box == Box(4630, 7730, 13_200, 19_300)
    assert title.layers == list(range(3, 21))
    assert (title.windows, title.stride, title.tta, title.boost) == ((3, 4, 5), 16, 3, 2.9)
    assert title.flip


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("segment = ", "not TOML"),
        ('segment = "a"', r"missing keys \['crop', 'source', 'windows'\]|missing keys"),
        (
            'segment="a"\nsource="b"\ncrop=[0,1,0,1]\nwindows=[1]\nboosts=2',
            r"unknown keys \['boosts'\]",
        ),
        (
            'segment="a"\nsource="b"\ncrop=[0,1,0,1]\nwindows=[1]\nboost="2"',
            "boost = '2' is not float",
        ),
        ('segment="a"\nsource="b"\ncrop=[0,1,0,1]\nwindows=["x"]', "windows"),
        ('segment="a"\nsource="b"\ncrop=[0,1,0]\nwindows=[1]', "A crop is"),
        ('segment="a"\nsource="b"\ncrop=[9,1,0,9]\nwindows=[1]', "is empty"),
        *(
            (f'segment="a"\nsource="b"\ncrop=[0,9,0,9]\nwindows=[1]\n{wrong}', "A picture has")
            for wrong in ("boost=20", "reduce=10", "reduce=0", 'method="sum"')
        ),
    ],
)
def test_mistakes_are_named(text: str, complaint: str, tmp_path: Path) -> None:
    file = tmp_path / "title.toml"
    file.write_text(text)
    with pytest.raises(s5.S5Error, match=complaint):
        s5.read_title_settings(file)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(s5.S5Error, match="no settings file"):
        s5.read_title_settings(tmp_path / "none.toml")
    with pytest.raises(s5.S5Error, match="cannot be read"):
        s5.read_title_settings(tmp_path)
