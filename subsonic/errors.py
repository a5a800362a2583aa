"""What can go wrong when talking Subsonic.

::

    SubsonicError
    ├── AnswerError        the upstream's answer is no Subsonic answer
    ├── FailedAnswer       the upstream said "failed", with its code and message
    └── UnreachableError   no answer: refused, timed out, not HTTP
"""

from typing import Final

GENERIC: Final = 0
MISSING_PARAMETER: Final = 10
WRONG_LOGIN: Final = 40
TOKEN_UNSUPPORTED: Final = 41
LOGIN_UNSUPPORTED: Final = 42
CONFLICTING_LOGINS: Final = 43
INVALID_API_KEY: Final = 44
NOT_AUTHORISED: Final = 50
NOT_FOUND: Final = 70

#: What a server says to a call by its login alone, whichever call it is.
LOGIN_ERRORS: Final = frozenset(
    (
        MISSING_PARAMETER,
        WRONG_LOGIN,
        TOKEN_UNSUPPORTED,
        LOGIN_UNSUPPORTED,
        CONFLICTING_LOGINS,
        INVALID_API_KEY,
    )
)


class SubsonicError(Exception):
    """Root of the room."""


class AnswerError(SubsonicError):
    """A body that is no Subsonic envelope."""


class UnreachableError(SubsonicError):
    """The server gave no answer at all."""


class FailedAnswer(SubsonicError):  # noqa: N818 - it is the protocol's own word for it
    """An answer with `status="failed"`."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"{message} (error {code})")
        self.code = code
        self.message = message
