"""What one answer after the other holds, cut out as the bytes it came in.

Fifty songs are fifty answers whose envelopes are the same to the byte. Only the first of them is
read; of the others no more than the song, which then needs not be written anew.
"""

from __future__ import annotations

import json
from typing import Any, Final

from subsonic.envelope import ENVELOPE, strict_json
from subsonic.errors import AnswerError

#: Ends the payload's envelope and the document.
_END: Final = b"}}"


class Cutter:
    """Cuts the object called `name` out of JSON answers in which it comes last."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._begins = b'"%s":' % name.encode("ascii")
        self._head = b""

    def cut(self, body: bytes) -> tuple[bytes, dict[str, Any]] | None:
        """(its bytes, the object), or None for any other answer: failed, odd, or none at all."""
        end = body.rstrip()
        at = end.find(self._begins + b"{")
        if at < 0 or not end.endswith(b"}" + _END):
            return None
        at += len(self._begins)
        head = end[:at]
        if head != self._head and not self._is_ok(head):
            return None
        markup = end[at : -len(_END)]
        try:
            found = strict_json(markup)
        except AnswerError:
            return None
        if not isinstance(found, dict):
            return None
        self._head = head
        return markup, found

    def _is_ok(self, head: bytes) -> bool:
        """Whether an ok envelope begins so, in which the object is the last thing."""
        try:
            document = json.loads(head + b"0" + _END)
        except (ValueError, RecursionError):
            return False
        envelope = document.get(ENVELOPE) if isinstance(document, dict) else None
        return (
            isinstance(envelope, dict)
            and list(document) == [ENVELOPE]
            and envelope.get("status") == "ok"
            and envelope.get(self._name) == 0
        )
