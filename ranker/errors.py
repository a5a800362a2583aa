"""What the ranker cannot do.

::

    RankingError
    └── WordsError   no word says anything about sound, nothing has what they want, or the model
                     gives no tags
"""


class RankingError(Exception):
    """Root of the room."""


class WordsError(RankingError):
    """Words that cannot become a wish (`ranker.wishes`)."""
