from __future__ import annotations

import json

import pytest
from lxml import etree

from subsonic.envelope import compose, failure, fragment, is_callback, parse, wanted_format
from subsonic.errors import AnswerError
from subsonic.parameters import Parameters

XML = (
    b'<subsonic-response xmlns="http://subsonic.org/restapi" status="ok" version="1.16.1"'
    b' type="navidrome" serverVersion="x" openSubsonic="true"><song id="1" title="A &amp; B">'
    b'<genres name="Rock"></genres></song></subsonic-response>'
)
JSON = (
    b'{"subsonic-response":{"status":"ok","version":"1.16.1","type":"navidrome",'
    b'"serverVersion":"x","openSubsonic":true,"song":{"id":"1","title":"A"}}}'
)


def test_an_xml_answer_wears_the_upstreams_envelope() -> None:
    template = parse(XML, is_xml=True)
    body = compose(template, "similarSongs2", [fragment(template.payload("song"), is_xml=True)])
    root = etree.fromstring(body)
    assert dict(root.attrib) == {
        "status": "ok", "version": "1.16.1", "type": "navidrome", "serverVersion": "x",
        "openSubsonic": "true",
    }  # fmt: skip
    (song,) = root.findall("{*}similarSongs2/{*}song")
    assert (song.get("title"), song[0].get("name")) == ("A & B", "Rock")
    assert not body.startswith(b"<?xml")
    assert compose(parse(b"<?xml version='1.0'?>" + XML, is_xml=True), "x", []).startswith(b"<?xml")


def test_a_json_answer_wears_the_upstreams_envelope() -> None:
    template = parse(JSON, is_xml=False)
    envelope = json.loads(
        compose(template, "randomSongs", [fragment(template.payload("song"), is_xml=False)])
    )
    assert envelope["subsonic-response"] == {
        "status": "ok", "version": "1.16.1", "type": "navidrome", "serverVersion": "x",
        "openSubsonic": True, "randomSongs": {"song": [{"id": "1", "title": "A"}]},
    }  # fmt: skip
    assert (
        json.loads(compose(template, "randomSongs", []))["subsonic-response"]["randomSongs"] == {}
    )


def test_text_that_is_no_unicode_still_makes_json() -> None:
    template = parse(JSON, is_xml=False)
    body = compose(
        template, "randomSongs", [fragment({"id": "1", "title": "x\ud800y"}, is_xml=False)]
    )
    assert json.loads(body)["subsonic-response"]["randomSongs"]["song"][0]["title"] == "x\ud800y"


def test_a_failed_answer_tells_code_and_message() -> None:
    body = b'<subsonic-response status="failed"><error code="40" message="no"/></subsonic-response>'
    answer = parse(body, is_xml=True)
    assert (answer.ok, answer.error) == (False, (40, "no"))
    odd = parse(b'{"subsonic-response":{"status":"failed","error":{"code":"x"}}}', is_xml=False)
    assert odd.error == (0, "")


@pytest.mark.parametrize(
    "body", [b"", b"404 page not found", b"{}", b"[]", b"<html/>", b"\xff", b"[" * 99999]
)
@pytest.mark.parametrize("is_xml", [True, False])
def test_what_is_no_answer_is_refused(body: bytes, is_xml: bool) -> None:
    with pytest.raises(AnswerError):
        parse(body, is_xml=is_xml)


def test_a_document_type_is_refused() -> None:
    body = (
        b'<!DOCTYPE r [<!ENTITY x SYSTEM "file:///etc/passwd">]>'
        b'<subsonic-response status="ok"><song title="t">&x;</song></subsonic-response>'
    )
    with pytest.raises(AnswerError, match="document type"):
        parse(body, is_xml=True)


@pytest.mark.parametrize("number", [b"NaN", b"Infinity", b"-Infinity", b"1e999"])
def test_numbers_that_are_no_json_are_refused(number: bytes) -> None:
    with pytest.raises(AnswerError):
        parse(b'{"subsonic-response":{"status":"ok","song":{"gain":%s}}}' % number, is_xml=False)


@pytest.mark.parametrize(
    ("query", "media_type", "start"),
    [
        (b"", "application/xml", b"<subsonic-response"),
        (b"f=yaml", "application/xml", b"<subsonic-response"),
        (b"f=json", "application/json", b'{"subsonic-response"'),
        (b"f=jsonp&callback=cb", "application/javascript", b"cb({"),
        (b"f=jsonp&callback=alert(1)", "application/json", b'{"subsonic-response"'),
        (b"f=jsonp", "application/json", b'{"subsonic-response"'),
    ],
)
def test_our_own_failures_are_in_the_clients_format(
    query: bytes, media_type: str, start: bytes
) -> None:
    given, body = failure(Parameters.parse(query), 0, "<upstream> is \x00 down")
    assert given == media_type
    assert body.startswith(start)
    if media_type == "application/xml":
        assert parse(body, is_xml=True).error == (0, "<upstream> is   down")


def test_formats_and_callbacks() -> None:
    assert wanted_format(Parameters.parse(b"f=JSON")).value == "xml"  # as Navidrome: exact words
    assert [is_callback(c) for c in ("a.b_$1", "", "1a", "a b", "a(", "x" * 300)] == [
        True, False, False, False, False, False,
    ]  # fmt: skip
