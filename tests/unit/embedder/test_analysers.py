"""The gate that everything a model says goes through."""

import numpy as np
import pytest

from catalog.tracks import Analysis, Float32, Model
from embedder.errors import CANNOT_ANALYSE, DecodingError
from embedder.excerpts import Excerpts
from embedder.models.analysers import hear

MODEL = Model("test", "1", 3, ("calm", "dark"))
SOUND = Excerpts(32_000, 1.0, (np.zeros(32_000, np.float32),))


class Says:
    """A model that says what it is told to."""

    def __init__(self, vector: Float32 | None, scores: Float32 | None) -> None:
        self._analysis = Analysis(MODEL, vector, scores)

    def analyse(self, excerpts: Excerpts) -> tuple[Analysis, ...]:
        return (self._analysis, self._analysis)


def numbers(*values: float) -> Float32:
    return np.array(values, np.float32)


def test_what_all_models_say_comes_in_order() -> None:
    one, other = Says(numbers(1, 2, 3), numbers(0, 1)), Says(numbers(4, 5, 6), numbers(1, 0))
    heard = hear([one, other], SOUND)
    assert [float(said.vector[0]) for said in heard if said.vector is not None] == [1, 1, 4, 4]


@pytest.mark.parametrize(
    ("vector", "scores"),
    [
        (numbers(1, np.nan, 3), numbers(0, 1)),
        (numbers(1, 2, np.inf), numbers(0, 1)),
        (numbers(1, 2, 3), numbers(0, np.nan)),
        (numbers(1, 2), numbers(0, 1)),
        (None, numbers(0, 1)),
        (numbers(1, 2, 3), None),
    ],
)
def test_nothing_but_the_promised_numbers_passes(
    vector: Float32 | None, scores: Float32 | None
) -> None:
    with pytest.raises(DecodingError, match="test gave") as caught:
        hear([Says(vector, scores)], SOUND)
    assert caught.value.reason == CANNOT_ANALYSE
