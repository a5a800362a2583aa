"""A song is cut out as it came, or not at all."""

from __future__ import annotations

import json

import pytest

from subsonic.cutting import Cutter
from subsonic.envelope import compose, parse

HEAD = b'{"subsonic-response":{"status":"ok","version":"1.16.1","openSubsonic":true,"song":'
SONG = '{"id":"a","title":"caf\u00e9 \\"x\\"","bpm":1.50,"genres":[{"name":"Rock"}]}'.encode()


def test_a_song_is_the_bytes_it_came_in() -> None:
    cutter = Cutter("song")
    for end in (b"}}", b"}}\n"):
        found = cutter.cut(HEAD + SONG + end)
        assert found is not None
        markup, song = found
        assert markup == SONG
        assert song == json.loads(SONG)
        template = parse(HEAD + SONG + b"}}", is_xml=False)
        whole = compose(template, "randomSongs", [markup, markup])
        listing = json.loads(whole)["subsonic-response"]["randomSongs"]
        assert listing == {"song": [song, song]}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"nonsense",
        HEAD + b"[]}}",
        HEAD + SONG + b"}",
        HEAD + SONG[:-1] + b"}}",
        HEAD + SONG + b"}}}}",
        HEAD + SONG.replace(b"1.50", b"NaN") + b"}}",
        HEAD.replace(b'"ok"', b'"failed"') + SONG + b"}}",
        HEAD.replace(b'"song"', b'"inner":{"song"') + SONG + b"}}}",
        HEAD + SONG + b',"status":"failed"}}',
        b'{"other":{"status":"ok","song":' + SONG + b"}}",
        b'{"x":1,' + HEAD[1:] + SONG + b"}}",
        b'\xff\xfe' + (HEAD + SONG + b"}}").decode().encode("utf-16-le"),
        HEAD + b"[" * 5000 + b"{" + b"}}",
    ],
)  # fmt: skip
def test_anything_else_is_left_to_the_parser(body: bytes) -> None:
    assert Cutter("song").cut(body) is None
    known = Cutter("song")
    assert known.cut(HEAD + SONG + b"}}") is not None
    assert known.cut(body) is None  # nor by a head that is known


def test_what_a_title_says_is_no_envelope() -> None:
    sly = SONG.replace(b"caf", b'\\"song\\":{\\"status\\"')
    found = Cutter("song").cut(HEAD + sly + b"}}")
    assert found is not None
    assert found[0] == sly
