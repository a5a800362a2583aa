"""Which track a file is."""

from __future__ import annotations

from catalog.tracks import KnownFile, Model
from embedder.plan import Recognition

EARS = Model("ears", "ears-1", 4)


def test_a_file_that_is_asked_about_again_takes_no_second_track() -> None:
    """Two copies were moved; the worker that read the first died after it was recognised."""
    gone = {(1, path): KnownFile(number, 10, 1, "key") for number, path in ((7, "a"), (8, "b"))}
    recognition = Recognition({}, gone, {EARS: {7}}, again=False)
    first = recognition.recognise((1, "new/a"), "key")
    assert recognition.recognise((1, "new/a"), "key") == first == frozenset()
    assert recognition.recognise((1, "new/b"), "key") == {EARS}
    assert recognition.claims == {(1, "new/a"): 7, (1, "new/b"): 8}
