"""What the ranker cannot do.

::

    RankingError
    └── WordsError   none of the words says anything about sound, or the model gives no tags
"""


class RankingError(Exception):
    """Root of the room."""


class WordsError(RankingError):
    """Words that cannot become a profile."""
