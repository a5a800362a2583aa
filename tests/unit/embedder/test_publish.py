import ast
import importlib
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from catalog import analyses, matrices
from catalog.library import Library
from catalog.snapshot import Snapshot, open_snapshot
from catalog.tracks import Analysis, FileFacts, Model, Tags, Track
from embedder.derivation import centre, unit
from embedder.families import recording_families
from embedder.models import registry
from embedder.models.registry import MN04, SEGUE1, TIMBRE
from embedder.names import genre_names, simplify
from embedder.publication import DERIVING, derivation
from embedder.publish import publish, standardise

MOODS = Model("jamendo-moods", "test", 0, ("calm", "dark", "funny"))


def track(row: int, *, key: str = "", seconds: float = 100.0, **tags: object) -> Track:
    file = FileFacts(f"artist/album/{row}.mp3", 1000 + row, row)
    return Track(row, 1, file, key or f"key-{row}", seconds, Tags(**tags))  # type: ignore[arg-type]


def families(*tracks: Track) -> list[int]:
    return recording_families(tracks).tolist()


def test_one_recording_by_musicbrainz_by_content_or_by_name_and_length() -> None:
    song = {"artist": "Björk", "title": "Jóga"}
    assert families(
        track(1, musicbrainz_recording_id="a", title="x", artist="y"),
        track(2, musicbrainz_recording_id="a", title="z", artist="y"),
        track(3, key="same"),
        track(4, key="same"),
        track(5, seconds=100, **song),
        track(6, seconds=101.9, artist="BJÖRK", title=" jóga "),
        track(7, seconds=104.0, **song),
        track(8, title="Jóga", artist="Other"),
    ) == [0, 0, 1, 1, 2, 2, 3, 4]


def test_families_join_over_several_hints() -> None:
    assert families(
        track(1, key="k", artist="a", title="One"),
        track(2, key="k"),
        track(3, artist="A", title="one", musicbrainz_recording_id="m"),
        track(4, musicbrainz_recording_id="m", seconds=300),
    ) == [0, 0, 0, 0]


@pytest.mark.parametrize("title", ["", "Track 01", "track", "07", "Untitled", "Audio Track 3"])
def test_nameless_tracks_are_not_versions_of_each_other(title: str) -> None:
    assert families(track(1, artist="a", title=title), track(2, artist="a", title=title)) == [0, 1]


def test_names_without_an_artist_are_no_names() -> None:
    assert families(track(1, title="Intro"), track(2, title="Intro")) == [0, 1]


def test_simplify_compares_what_people_mean() -> None:
    assert simplify("ＡＢＣ  Straße\n") == simplify("abc strasse") == "abc strasse"


def published(data: Path) -> Snapshot:
    snapshot = open_snapshot(data, verify=True)
    assert snapshot is not None
    return snapshot


def test_one_tag_may_hold_several_genres() -> None:
    assert genre_names(track(1, genres=("Jazz; Fusion", "jazz"))) == ["jazz", "fusion"]
    assert genre_names(track(4, genres=("a", "b/c", "d"))) == ["a", "b", "c"]


def test_genres_are_codes(tmp_path: Path) -> None:
    with Library.open(tmp_path) as library:
        root = library.root_id(Path("/music"))
        vector = np.ones(TIMBRE.dim, np.float32)
        for row, genres in enumerate([("Jazz; Fusion",), ("FUSION",), ()]):
            file = FileFacts(f"{row}.mp3", row, row)
            library.store(
                root, file, str(row), 1.0, Tags(genres=genres), [Analysis(TIMBRE.model, vector)]
            )
        publish(library, tmp_path, [TIMBRE.model])
    snapshot = published(tmp_path)
    assert snapshot.genres is not None
    assert snapshot.genres.tolist() == [[0, 1, -1], [1, -1, -1], [-1] * 3]
    assert snapshot.genre_names == ("jazz", "fusion")


def test_constant_columns_stay_finite() -> None:
    values = np.float32([[1, 7, 1e9], [2, 7, 1e9], [3, 7, 1e9]])
    z = standardise(values)
    assert z[:, 1].tolist() == z[:, 2].tolist() == [0, 0, 0]
    np.testing.assert_allclose(z[:, 0], [-1.2247, 0, 1.2247], atol=1e-3)


def test_an_outlier_is_held_back() -> None:
    values = np.zeros((200, 1), np.float32)
    values[0] = 1e6
    assert standardise(values).max() == 5


def test_tag_groups_keep_what_is_heard_and_know_the_unknown(tmp_path: Path) -> None:
    moods = replace(MOODS, labels=("rock", "never", "calm"))
    with Library.open(tmp_path) as library:
        root = library.root_id(Path("/music"))
        for row, scores in enumerate([[0.5, 0.01, 0.2], [0.1, 0.02, 0.4], None]):
            heard = [Analysis(TIMBRE.model, np.full(TIMBRE.dim, row, np.float32))]
            if scores:
                heard.append(Analysis(moods, None, np.float32(scores)))
            library.store(root, FileFacts(f"{row}", row, row), str(row), 1.0, Tags(), heard)
        publish(library, tmp_path, [TIMBRE.model, moods])
    group = published(tmp_path).tag_groups["moods"]
    assert group.labels == ("rock", "calm")
    assert group.scores.dtype == np.float16
    assert group.scores[2].tolist() == [0, 0]
    assert group.scores[0, 0] > 0 > group.scores[1, 0]


def fill(library: Library, n: int, model: Model, *, moods: bool = True) -> None:
    random = np.random.default_rng(7)
    root = library.root_id(Path("/music"))
    for row in range(n):
        analyses = [
            Analysis(
                model,
                random.standard_normal(model.dim).astype(np.float32),
                random.random(len(model.labels)).astype(np.float32) if model.labels else None,
            )
        ]
        if moods and row % 2 == 0:
            analyses.append(Analysis(MOODS, None, random.random(3).astype(np.float32)))
        library.store(
            root,
            FileFacts(f"a{row % 3}/b/{row}.mp3", row, row),
            f"k{row}",
            60.0 + row,
            Tags(f"T{row}", f"Artist {row % 3}", "B", year=1990 + row if row % 2 else None),
            analyses,
        )


def test_a_library_becomes_a_snapshot_and_the_same_one_each_time(tmp_path: Path) -> None:
    with Library.open(tmp_path) as library:
        fill(library, 12, MN04.model)
        version = publish(library, tmp_path, [MN04.model, MOODS])
        assert publish(library, tmp_path, [MN04.model, MOODS]) == version
    snapshot = open_snapshot(tmp_path, verify=True)
    assert snapshot is not None
    assert snapshot.version == version
    assert snapshot.n == 12
    assert (snapshot.model.name, snapshot.model.version) == (MN04.name, MN04.version)
    assert snapshot.artist.tolist() == [0, 1, 2] * 4
    assert snapshot.album.tolist() == [0, 1, 2] * 4  # one name, three artists' folders
    assert snapshot.recording.tolist() == list(range(12))
    assert snapshot.year.tolist()[:3] == [0, 1991, 0]
    assert snapshot.text("title", 11) == "T11"
    assert len(snapshot.tag_groups["audioset"].labels) == 527
    moods = snapshot.tag_groups["moods"]
    assert moods.labels == MOODS.labels
    assert not moods.scores[1::2].any()
    assert moods.scores[::2].any()


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("model", [MN04.model, TIMBRE.model], ids=lambda model: model.name)
def test_the_smallest_libraries_publish(n: int, model: Model, tmp_path: Path) -> None:
    with Library.open(tmp_path) as library:
        fill(library, n, model, moods=False)
        publish(library, tmp_path, [model])
    snapshot = open_snapshot(tmp_path)
    assert snapshot is not None
    assert np.isfinite(snapshot.vectors).all()


def test_vectors_of_another_version_stay_out(tmp_path: Path) -> None:
    old = replace(TIMBRE.model, version="timbre-older")
    with Library.open(tmp_path) as library:
        fill(library, 5, old, moods=False)
        for model, tracks in ((TIMBRE.model, 0), (old, 5)):
            publish(library, tmp_path, [model])
            assert published(tmp_path).n == tracks


def test_blocks_and_tiles_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Library.open(tmp_path) as library:
        fill(library, 50, MN04.model)
        publish(library, tmp_path / "whole", [MN04.model, MOODS])
        monkeypatch.setattr(matrices, "_MOST_ROWS", 7)
        monkeypatch.setattr(matrices.Tiles, "rows_each", 7)
        monkeypatch.setattr(analyses, "BLOCK_ROWS", 5)
        publish(library, tmp_path / "parts", [MN04.model, MOODS])
    whole, parts = published(tmp_path / "whole"), published(tmp_path / "parts")
    np.testing.assert_allclose(whole.vectors, parts.vectors, atol=1e-5)
    for name, group in whole.tag_groups.items():
        np.testing.assert_array_equal(group.scores, parts.tag_groups[name].scores)
    np.testing.assert_array_equal(whole.artist, parts.artist)
    assert whole.profile is not None
    assert parts.profile is not None
    np.testing.assert_allclose(np.abs(whole.profile), np.abs(parts.profile), atol=1e-3)


def test_each_model_is_whitened_by_its_own_rule(tmp_path: Path) -> None:
    """segue-1's cosines are those of the centred vectors; another's are half-whitened."""
    for model in (SEGUE1[0].model, MN04.model):
        with Library.open(tmp_path / model.name) as library:
            fill(library, 40, model, moods=False)
            publish(library, tmp_path / model.name, [model])
            raw = library.vectors(model)[1]
        centred = centre(raw)
        as_they_are = unit(centred) @ unit(centred).T
        snapshot = published(tmp_path / model.name)
        cosines = snapshot.vectors @ snapshot.vectors.T
        kept = np.abs(cosines - as_they_are).max()
        assert (kept < 1e-4) == (model.name == "segue-1"), model.name


def test_a_changed_rule_is_another_derivation(monkeypatch: pytest.MonkeyPatch) -> None:
    before = derivation(MN04.model, MOODS)
    assert derivation(MN04.model, MOODS) == before
    assert derivation(TIMBRE.model) != before
    changed = tuple(replace(o, whitening=0.1) if o is MN04 else o for o in registry.ENTRIES)
    monkeypatch.setattr("embedder.publish.ENTRIES", changed)
    assert derivation(MN04.model, MOODS) != before


#: What publishing imports that gives it data but decides nothing about a snapshot.
_GIVERS = {
    "catalog.analyses", "catalog.database", "catalog.errors", "catalog.library", "catalog.runs",
    "catalog.schema", "catalog.snapshot", "catalog.songs", "catalog.tracks",
    # Measured when a track is heard, under versions of their own; the registry by `rule_of`.
    "embedder.decoding", "embedder.excerpts", "embedder.loudness", "embedder.rhythm",
    "embedder.models.registry",
}  # fmt: skip


def test_all_code_that_shapes_a_snapshot_is_in_its_derivation() -> None:
    """Or else a mended rule would not publish anew."""
    found, waiting = set(), ["embedder.publish"]
    while waiting:
        name = waiting.pop()
        if name in found or name in _GIVERS:
            continue
        found.add(name)
        module = sys.modules.get(name) or importlib.import_module(name)
        for node in ast.walk(ast.parse(Path(str(module.__file__)).read_text("utf-8"))):
            source = node.module if isinstance(node, ast.ImportFrom) else None
            if source and source.partition(".")[0] in {"catalog", "embedder"}:
                waiting.append(source)
    assert found == {module.__name__ for module in DERIVING}
