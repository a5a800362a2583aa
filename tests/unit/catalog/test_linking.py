from __future__ import annotations

import time
from dataclasses import replace

from catalog.linking import LinkReport, link
from catalog.tracks import FileFacts, Song, Tags, Track


def track(i: int, path: str, size: int, *, root: int = 1, key: str = "", **tags: str) -> Track:
    return Track(
        i,
        root,
        FileFacts(path, size, 0),
        key or f"key-{i}",
        100.4,
        Tags(**tags),  # type: ignore[arg-type]
    )


def song(song_id: str, path: str, size: int, **facts: object) -> Song:
    values: dict[str, object] = {"path_is_true": True, "root": "/music", "duration_s": 100.0}
    return Song(song_id, path, size_bytes=size, **{**values, **facts})  # type: ignore[arg-type]


def links(report: LinkReport) -> dict[str, int]:
    return dict(report.links)


def test_the_same_relative_path_links() -> None:
    report = link([song("s", "A/B/1.mp3", 5)], [track(1, "A/B/1.mp3", 5), track(2, "A/B/2.mp3", 5)])
    assert links(report) == {"s": 1}
    assert (report.by_path, report.by_facts) == (1, 0)


def test_our_folder_may_lie_above_or_below_the_servers() -> None:
    tracks = [track(1, "rock/A/1.mp3", 5), track(2, "jazz/A/1.mp3", 6)]
    above = [song("r", "A/1.mp3", 5, root="/rock"), song("j", "A/1.mp3", 6, root="/jazz")]
    assert links(link(above, tracks)) == {"r": 1, "j": 2}
    below = [song("r", "rock/A/1.mp3", 5), song("j", "jazz/A/1.mp3", 6)]
    inside = [track(1, "A/1.mp3", 5, root=1), track(2, "A/1.mp3", 6, root=2)]
    assert links(link(below, inside)) == {"r": 1, "j": 2}


def test_two_libraries_with_the_same_layout_are_told_apart_by_size() -> None:
    tracks = [track(1, "A/1.mp3", 5, root=1), track(2, "A/1.mp3", 6, root=2)]
    songs = [song("x", "A/1.mp3", 6, root="/b"), song("y", "A/1.mp3", 5, root="/a")]
    assert links(link(songs, tracks)) == {"x": 2, "y": 1}


def test_a_retagged_file_is_still_the_file_at_its_path() -> None:
    tracks = [track(i, f"A/{i}.mp3", i) for i in range(1, 5)]
    songs = [song(f"s{i}", f"A/{i}.mp3", i + (100 if i == 3 else 0)) for i in range(1, 5)]
    assert links(link(songs, tracks)) == {"s1": 1, "s2": 2, "s3": 3, "s4": 4}


def two_libraries() -> tuple[list[Track], list[Song]]:
    """Two libraries that are clearly told apart, and a sampler of the same name in both."""
    tracks = [track(i, f"A/{i}.mp3", 1000 + i, root=1) for i in range(1, 6)]
    tracks += [track(10 + i, f"B/{i}.mp3", 2000 + i, root=2) for i in range(1, 6)]
    songs = [song(f"a{i}", f"A/{i}.mp3", 1000 + i, root="/lib1") for i in range(1, 6)]
    songs += [song(f"b{i}", f"B/{i}.mp3", 2000 + i, root="/lib2") for i in range(1, 6)]
    return tracks, songs


def test_a_file_not_embedded_yet_is_not_linked_to_its_namesake_elsewhere() -> None:
    tracks, songs = two_libraries()
    namesake = replace(track(50, "Sampler/01.mp3", 600, root=2), duration_s=300.0)
    sampler = song("S1", "Sampler/01.mp3", 500, root="/lib1", duration_s=200.0)
    report = link([*songs, sampler], [*tracks, namesake])
    assert "S1" not in links(report)
    assert report.linked == 10


def test_a_retagged_file_is_found_in_its_own_library() -> None:
    tracks, songs = two_libraries()
    tracks += [track(50, "Sampler/01.mp3", 500, root=1), track(51, "Sampler/01.mp3", 600, root=2)]
    songs += [song("S1", "Sampler/01.mp3", 510, root="/lib1")]
    songs += [song("S2", "Sampler/01.mp3", 600, root="/lib2")]
    found = links(link(songs, tracks))
    assert (found["S1"], found["S2"]) == (50, 51)


def test_a_replaced_file_of_another_length_is_not_the_old_recording() -> None:
    tracks, songs = two_libraries()
    other = song("S1", "A/9.mp3", 77, root="/lib1", duration_s=250.0)
    assert "S1" not in links(link([*songs, other], [*tracks, track(9, "A/9.mp3", 78)]))


def test_a_library_retagged_as_a_whole_is_linked_by_its_paths() -> None:
    tracks, _ = two_libraries()
    songs = [song(f"a{i}", f"A/{i}.mp3", 9000 + i, root="/lib1") for i in range(1, 6)]
    assert links(link(songs, tracks)) == {f"a{i}": i for i in range(1, 6)}


def test_an_invented_path_counts_only_with_the_size() -> None:
    tracks = [track(1, "A/B/1.mp3", 5, title="One")]
    invented = song("s", "A/B/1.mp3", 9, path_is_true=False)
    assert links(link([invented], tracks)) == {}
    assert links(link([replace(invented, size_bytes=5)], tracks)) == {"s": 1}


def test_without_paths_exact_facts_link() -> None:
    tracks = [
        track(1, "x/1.mp3", 5, title="One", artist="A", album="B"),
        track(2, "x/2.mp3", 5, title="Two", artist="A", album="B"),
    ]
    facts = song("s", "", 5, title="two", artist="a", album="b", duration_s=101)
    report = link([facts], tracks)
    assert links(report) == {"s": 2}
    assert report.by_facts == 1
    for wrong in ({"duration_s": 103.0}, {"title": "Tow"}, {"size_bytes": 6}, {"artist": "C"}):
        assert links(link([replace(facts, **wrong)], tracks)) == {}  # type: ignore[arg-type]


def test_a_file_without_a_title_is_known_by_its_name() -> None:
    assert links(
        link([song("s", "", 5, title="01 - Intro")], [track(1, "x/01 - Intro.mp3", 5)])
    ) == {"s": 1}


def test_ambiguity_is_counted_never_guessed() -> None:
    twins = [
        track(1, "a/1.mp3", 5, title="T", artist="A"),
        track(2, "b/1.mp3", 5, title="T", artist="A"),
    ]
    report = link([song("s", "", 5, title="T", artist="A")], twins)
    assert links(report) == {}
    assert [s.song_id for s in report.ambiguous] == ["s"]
    copies = [replace(t, content_key="same") for t in twins]
    assert links(link([song("s", "", 5, title="T", artist="A")], copies)) == {"s": 1}


def test_decomposed_names_are_the_same_names() -> None:
    assert links(link([song("s", "Café/1.mp3", 5)], [track(1, "Cafe\u0301/1.mp3", 5)])) == {"s": 1}


def test_what_is_on_one_side_only_stays_unlinked() -> None:
    report = link([song("s", "A/1.mp3", 5)], [])
    assert links(report) == {}
    assert len(report.unmatched) == 1
    assert links(link([], [track(1, "A/1.mp3", 5)])) == {}


def test_ten_thousand_songs_link_in_seconds() -> None:
    tracks = [track(i, f"{i % 500}/{i % 12:02d} - {i}.mp3", i * 7 + 1) for i in range(10_000)]
    songs = [song(str(t.track_id), t.file.path, t.file.size_bytes) for t in tracks]
    started = time.perf_counter()
    report = link(songs, tracks)
    assert report.linked == 10_000
    assert time.perf_counter() - started < 10


def test_equal_sizes_do_not_make_it_quadratic() -> None:
    tracks = [track(i, f"x/{i}.mp3", 5, title=f"Song {i}") for i in range(4_000)]
    songs = [song(str(i), "", 5, title=f"song {i}") for i in range(4_000)]
    started = time.perf_counter()
    assert link(songs, tracks).by_facts == 4_000
    assert time.perf_counter() - started < 10


def test_common_file_names_do_not_make_it_quadratic() -> None:
    tracks = [track(i, f"{i}/track.mp3", i + 1) for i in range(3_000)]
    songs = [song(str(t.track_id), t.file.path, t.file.size_bytes) for t in tracks]
    started = time.perf_counter()
    assert link(songs, tracks).linked == 3_000
    assert time.perf_counter() - started < 10
