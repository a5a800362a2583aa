"""The envelope around every Subsonic answer, in XML, JSON and JSONP.

An answer of ours is made from one of the upstream's (`Answer`): version, type and server version
are its own, and only the payload is ours.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from lxml import etree

from subsonic.errors import GENERIC, AnswerError
from subsonic.parameters import Parameters

NAMESPACE: Final = "http://subsonic.org/restapi"
ENVELOPE: Final = "subsonic-response"
API_VERSION: Final = "1.16.1"

_CALLBACK: Final = re.compile(r"[a-zA-Z_$][a-zA-Z0-9_$.]*")


class Format(Enum):
    """How a client wants to be answered."""

    XML = "xml"
    JSON = "json"
    JSONP = "jsonp"

    @property
    def media_type(self) -> str:
        """The Content-Type that Navidrome gives it."""
        return {
            Format.XML: "application/xml",
            Format.JSON: "application/json",
            Format.JSONP: "application/javascript",
        }[self]


def wanted_format(parameters: Parameters) -> Format:
    """The format asked for by `f`; XML where it is absent or unknown."""
    text = parameters.first("f")
    return Format(text) if text in ("json", "jsonp") else Format.XML


def is_callback(name: str) -> bool:
    """Whether a JSONP callback is a harmless JavaScript identifier (Navidrome's rule)."""
    return len(name) <= 200 and _CALLBACK.fullmatch(name) is not None


@dataclass(frozen=True, slots=True)
class Answer:
    """A parsed answer. `root` is the envelope: an XML element, or the JSON object inside it."""

    root: Any
    is_xml: bool
    declaration: bool = False

    @property
    def ok(self) -> bool:
        """Whether the upstream said ok."""
        return str(self.root.get("status")) == "ok"

    @property
    def error(self) -> tuple[int, str]:
        """(code, message) of a failed answer."""
        if self.is_xml:
            found = self.root.find("{*}error")
            facts: Mapping[str, Any] = {} if found is None else found.attrib
        else:
            found = self.root.get("error")
            facts = found if isinstance(found, dict) else {}
        try:
            code = int(facts.get("code", GENERIC))
        except (TypeError, ValueError):
            code = GENERIC
        return code, str(facts.get("message", ""))

    def payload(self, name: str) -> Any:
        """The element (XML) or value (JSON) of that name directly below the envelope, or None."""
        return self.root.find(f"{{*}}{name}") if self.is_xml else self.root.get(name)


def _parser() -> etree.XMLParser:
    # Entities, DTDs and the network are off: the upstream's XML is data, never instructions.
    return etree.XMLParser(
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        dtd_validation=False,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
    )


def parse(body: bytes, *, is_xml: bool) -> Answer:
    """Read an answer.

    Raises:
        AnswerError: not well-formed, or no Subsonic envelope.
    """
    if is_xml:
        try:
            root = etree.fromstring(body, _parser())
        except (etree.XMLSyntaxError, ValueError) as error:
            raise AnswerError("the upstream's XML is not well-formed") from error
        document_type: str = root.getroottree().docinfo.doctype  # type: ignore[union-attr]
        if document_type:
            raise AnswerError("the upstream's XML has a document type, as no Subsonic answer has")
        if etree.QName(root).localname != ENVELOPE:
            raise AnswerError("the upstream's XML is no Subsonic answer")
        return Answer(root, True, body.lstrip().startswith(b"<?xml"))
    document = strict_json(body)
    envelope = document.get(ENVELOPE) if isinstance(document, dict) else None
    if not isinstance(envelope, dict):
        raise AnswerError("the upstream's JSON is no Subsonic answer")
    return Answer(envelope, False)


def strict_json(body: bytes) -> Any:
    """JSON as the standard has it: no NaN, no number beyond all bounds.

    Raises:
        AnswerError: anything else.
    """
    try:
        return _DECODER.decode(body.decode(json.detect_encoding(body), "surrogatepass"))
    except (ValueError, RecursionError) as error:
        raise AnswerError("the upstream's JSON is not well-formed") from error


def _refuse(text: str) -> float:
    raise ValueError(f"{text} is no JSON")


def _finite(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _refuse(text)


#: Made once: to make one costs as much as to read a song.
_DECODER: Final = json.JSONDecoder(parse_constant=_refuse, parse_float=_finite)


def compose(template: Answer, name: str, songs: Sequence[bytes]) -> bytes:
    """An answer with `songs` (see `fragment`) in a list element called `name`.

    Everything else of the envelope is the template's: version, type, server version.
    """
    if template.is_xml:
        namespace = etree.QName(template.root).namespace
        tag = "{%s}%s" if namespace else "%s%s"
        root = etree.Element(template.root.tag, dict(template.root.attrib), template.root.nsmap)
        listing = etree.SubElement(root, tag % (namespace or "", name))
        for markup in songs:
            song = etree.fromstring(markup, _parser())
            song.tag = tag % (namespace or "", "song")
            listing.append(song)
        etree.cleanup_namespaces(root, keep_ns_prefixes=list(filter(None, root.nsmap)))
        return etree.tostring(root, encoding="utf-8", xml_declaration=template.declaration)
    head = {k: v for k, v in template.root.items() if not isinstance(v, (dict, list))}
    if not songs:
        return _dump({ENVELOPE: {**head, name: {}}})
    empty = _dump({ENVELOPE: {**head, name: {"song": []}}})
    # The list is the last thing in it.
    return b"%s%s]}}}" % (empty.removesuffix(b"]}}}"), b",".join(songs))


def fragment(song: Any, *, is_xml: bool) -> bytes:
    """A song (XML element or JSON object) as `compose` takes it."""
    return etree.tostring(song, encoding="utf-8", with_tail=False) if is_xml else _dump(song)


def wrap(body: bytes, format_: Format, callback: str) -> bytes:
    """A JSON answer as the client wants it: as it is, or called back."""
    return b"%s(%s)" % (callback.encode("ascii"), body) if format_ is Format.JSONP else body


def failure(parameters: Parameters, code: int, message: str) -> tuple[str, bytes]:
    """(media type, body) of a failed answer of our own, in the client's format.

    A JSONP callback that is none gets JSON, as Navidrome does.
    """
    format_ = wanted_format(parameters)
    callback = parameters.first("callback")
    if format_ is Format.XML:
        root = etree.fromstring(f'<{ENVELOPE} xmlns="{NAMESPACE}"/>')
        root.set("status", "failed")
        root.set("version", API_VERSION)
        etree.SubElement(
            root, f"{{{NAMESPACE}}}error", {"code": str(code), "message": _printable(message)}
        )
        return format_.media_type, etree.tostring(root, encoding="utf-8")
    if format_ is Format.JSONP and not is_callback(callback):
        format_ = Format.JSON
    body = _dump(
        {ENVELOPE: {"status": "failed", "version": API_VERSION,
                    "error": {"code": code, "message": message}}}
    )  # fmt: skip
    return format_.media_type, wrap(body, format_, callback)


def _printable(text: str) -> str:
    return "".join(c if c >= " " else " " for c in text)


def _dump(document: object) -> bytes:
    try:
        return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
    except UnicodeEncodeError:  # a lone surrogate: escaped it is still JSON
        return json.dumps(document, separators=(",", ":")).encode("ascii")
