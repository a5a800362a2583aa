"""What can go wrong while the music is analysed.

::

    EmbedderError
    ├── SourceError      a music folder is not there, is empty, or has lost most of its tracks
    ├── ModelError       a model is unknown, or what it needs is not installed
    │   └── WeightsError a weights file is missing, damaged, or cannot be fetched
    └── DecodingError    one file gives no audio; the job lists it and goes on
"""

from typing import Final, Self


class EmbedderError(Exception):
    """Root of the room; the message says what, which value, and what to do."""


class SourceError(EmbedderError):
    """The music cannot be trusted to be all there: nothing was forgotten."""


class ModelError(EmbedderError):
    """No such model, or this machine lacks what it needs."""


class WeightsError(ModelError):
    """Weights are missing, do not match their sha256, or cannot be fetched."""


EMPTY_FILE: Final = "empty-file"
NOT_AUDIO: Final = "not-audio"
DOES_NOT_DECODE: Final = "does-not-decode"
TOO_SHORT: Final = "too-short"
UNREADABLE: Final = "unreadable"
READ_ERROR: Final = "read-error"
TIMED_OUT: Final = "timed-out"
CRASHED: Final = "crashed"
CANNOT_ANALYSE: Final = "cannot-analyse"
NOT_A_FILE: Final = "not-a-file"

#: Every reason a file can be skipped for, with the words for people.
REASONS: Final = {
    EMPTY_FILE: "the file is empty",
    NOT_AUDIO: "the file is no audio that FFmpeg knows",
    DOES_NOT_DECODE: "the file has no audio that can be decoded",
    TOO_SHORT: "the audio is too short to judge",
    UNREADABLE: "the file cannot be read",
    READ_ERROR: "the disk or the mount fails where the file lies",
    TIMED_OUT: "reading or decoding hung",
    CRASHED: "the decoder crashed on it",
    CANNOT_ANALYSE: "it decodes, but no model can make anything of it",
    NOT_A_FILE: "it is a pipe, a socket or a device",
}

#: May be the mount's doing: several in a row stop the run. (What is `UNREADABLE` may be, too: it
#: is looked at whether the rest can be read.)
TROUBLE: Final = frozenset({READ_ERROR, TIMED_OUT})
#: Not the file's doing, or mended without touching it: tried again in the next run.
PASSING: Final = TROUBLE | {UNREADABLE, CANNOT_ANALYSE}


class DecodingError(EmbedderError):
    """One file gives no audio. `reason` is a slug out of `REASONS`, `detail` is for people."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{REASONS[reason]}: {detail}" if detail else REASONS[reason])
        self.reason = reason
        self.detail = detail or REASONS[reason]
        #: What was read of the file in vain, and in how many pieces.
        self.bytes_read = self.reads = 0

    def __reduce__(self) -> tuple[type[Self], tuple[str, str]]:
        """Pickled as it was raised: what crosses to another process is the same error."""
        return type(self), (self.reason, self.detail)
