"""The list of keys: the same on the page and in its documentation."""

from __future__ import annotations

from pathlib import Path

import s5engine
from s5engine.view.keys import KEYS, keys_list

PAGE = Path(s5engine.__file__).parent.parent / "docs" / "viewer.md"


def test_the_documentation_lists_the_keys_of_the_page() -> None:
    rows = [line for line in PAGE.read_text("utf-8").splitlines() if line.startswith("| ")]
    assert rows[1:] == [f"| {key} | {words} |" for key, words in KEYS]


def test_every_key_is_in_the_pages_list() -> None:
    assert keys_list().count("<tr>") == len(KEYS)
