from __future__ import annotations

import os

import pytest

from embedder.sharding import ALL, Shard


def test_every_file_is_in_one_part_and_parts_are_alike() -> None:
    paths = [f"Artist {i // 12}/{i % 12:02} - Song.flac" for i in range(2000)]
    paths.append(os.fsdecode(b"caf\xe9.mp3"))
    shards = [Shard(index, 8) for index in range(1, 9)]
    taken = [[path for path in paths if shard.takes(path)] for shard in shards]
    assert sorted(path for part in taken for path in part) == sorted(paths)
    assert min(map(len, taken)) > 200
    assert all(ALL.takes(path) for path in paths)


def test_parts_are_the_same_on_every_machine_for_ever() -> None:
    assert [Shard(index, 3).takes("A/1.mp3") for index in (1, 2, 3)] == [False, True, False]


@pytest.mark.parametrize("text", ["", "3", "0/8", "9/8", "1/0", "a/b", "1/2/3", "-1/2"])
def test_what_is_no_part_is_told(text: str) -> None:
    with pytest.raises(ValueError, match="I/N"):
        Shard.parse(text)


def test_text_and_back() -> None:
    assert str(Shard.parse(" 2/8 ")) == "2/8"
    assert Shard.parse("1/1").whole
