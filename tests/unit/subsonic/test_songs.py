from __future__ import annotations

import json
from pathlib import Path

from subsonic.songs import ServerSong


def test_a_native_row_gives_the_true_path_and_every_artist(shared_traces: Path) -> None:
    with (shared_traces / "feishin.jsonl").open() as lines:
        calls = [json.loads(line) for line in lines]
    row = next(
        json.loads(c["response_body"])
        for c in calls
        if c["method"] == "GET" and c["target"].startswith("/api/song/")
    )
    song = ServerSong.from_native(row)
    assert song.path == "Tuxemon OST/Tuxemon/03 - 10 - The Empire.mp3"
    assert (song.root, song.folder_id, song.path_is_true) == ("/music", "1", True)
    assert (song.size_bytes, song.duration_s, song.genres) == (360656, 45.04, ("Soundtrack",))
    assert song.artist_ids == ("7IH7VmPuxvfJkag1Ulqvmd", "2wUeU9sjda3TZroxe2yeNQ")


def test_a_child_with_little_in_it() -> None:
    child = {"id": 7, "title": "T", "size": "12", "duration": None, "genre": "Rock", "year": "x"}
    song = ServerSong.from_child(child, "3")
    assert song == ServerSong("7", title="T", size_bytes=12, genres=("Rock",), folder_id="3")


def test_nonsense_from_a_server_is_no_crash() -> None:
    child = {"id": None, "genres": "x", "artists": [3], "size": 1e400, "year": -5, "path": ["a"]}
    assert ServerSong.from_child(child) == ServerSong("")
    assert ServerSong.from_native(
        {"participants": [], "tags": {"genre": "x"}, "duration": "1"}
    ) == (ServerSong("", path_is_true=True))
