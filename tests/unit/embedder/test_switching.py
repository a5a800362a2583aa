"""A model is added or changed: only what is missing is heard, and nothing is ever mixed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from catalog.library import Library
from catalog.snapshot import Snapshot, open_snapshot
from catalog.snapshots import kept_snapshots, roll_back
from catalog.tracks import Analysis, FileFacts
from embedder import job
from embedder.errors import CANNOT_ANALYSE, UNREADABLE, DecodingError
from embedder.excerpts import Excerpts
from embedder.fingerprint import FINGERPRINT
from embedder.models.analysers import Analyser
from embedder.models.entry import Entry
from embedder.models.registry import MOODS, TIMBRE, Choice
from embedder.workers import Workers
from tests.unit.embedder.test_job import Shelf

pytestmark = pytest.mark.usefixtures("shared_workers")

OLD = replace(TIMBRE, name="timbre", dim=6)
NEW = replace(TIMBRE, name="timbre", dim=8, revision=99)
TAGS = replace(MOODS, name="jamendo-moods", weights=())


@dataclass
class Ears:
    """A model that says how loud each part of the sound is, and counts what it heard."""

    entry: Entry
    heard: list[float] = field(default_factory=list)

    def analyse(self, excerpts: Excerpts) -> tuple[Analysis, ...]:
        self.heard.append(excerpts.duration_s)
        size = self.entry.dim or len(self.entry.labels)
        parts = np.array_split(np.abs(np.concatenate(excerpts.windows)), size)
        values = np.array([part.mean() for part in parts], np.float32).clip(0, 1)
        model = self.entry.model
        return (Analysis(model, values) if model.dim else Analysis(model, None, values),)


class House(Shelf):
    """A shelf whose models are chosen by the test."""

    models: Sequence[Entry] = (OLD,)
    ears: dict[str, Ears]

    def load(self, *args: object) -> list[Analyser]:
        self.ears = {f"{one.name} {one.version}": Ears(one) for one in self.models}
        return list(self.ears.values())

    def heard_by(self, entry: Entry) -> int:
        return len(self.ears[f"{entry.name} {entry.version}"].heard)

    def published(self) -> Snapshot:
        snapshot = open_snapshot(self.data, verify=True)
        assert snapshot is not None
        return snapshot


@pytest.fixture
def house(tmp_path: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> House:
    house = House(tmp_path)  # type: ignore[arg-type]
    for number in range(5):
        house.add(f"{number}.wav", number, seconds=0.5)
    monkeypatch.setattr(
        job, "choose_models", lambda *_: Choice(house.models[0], tuple(house.models[1:]), "test")
    )
    monkeypatch.setattr(job, "load_chosen", house.load)
    return house


def test_a_model_that_is_added_hears_alone(house: House) -> None:
    house.run()
    assert house.heard_by(OLD) == 5
    house.models = (OLD, TAGS)
    report = house.run().report
    assert (house.heard_by(OLD), house.heard_by(TAGS), report.embedded) == (0, 5, 5)
    assert len(house.published().tag_groups["moods"].labels) > 0
    house.add("5.wav", 5, seconds=0.5)
    house.run()
    assert (house.heard_by(OLD), house.heard_by(TAGS)) == (1, 1)
    (house.music / "0.wav").rename(house.music / "moved.wav")
    assert house.run().report.moved == 1
    assert (house.heard_by(OLD), house.heard_by(TAGS)) == (0, 0)


def test_a_changed_model_fills_its_space_while_the_old_one_stays_up_to_date(house: House) -> None:
    house.models = (OLD, TAGS)
    first = house.run().snapshot
    house.models = (NEW, TAGS)
    outcome = house.run(limit=2)
    assert (house.heard_by(NEW), house.heard_by(TAGS)) == (2, 0)
    assert house.published().model.version == OLD.version
    (house.music / "4.wav").rename(house.music / "moved.wav")
    house.run(limit=2)
    snapshot = house.published()
    assert (snapshot.model.version, snapshot.n) == (OLD.version, 5)
    assert snapshot.tag_groups.keys() == {"moods"}
    assert outcome.snapshot in {first, snapshot.version}
    with Library.open(house.data, read_only=True) as library:
        assert library.count_analysed(NEW.model) == 4
    house.run(limit=1)
    snapshot = house.published()
    assert (snapshot.model.version, snapshot.n) == (NEW.version, 5)
    assert snapshot.vectors.shape[1] == NEW.dim
    assert "moved.wav" in {snapshot.text("path", row) for row in range(5)}


def test_a_switch_waits_for_what_is_gone_until_it_is_back_or_forgotten(house: House) -> None:
    house.run()
    for number in (0, 1):
        (house.music / f"{number}.wav").rename(house.data.parent / f"{number}.wav")
    house.models = (NEW,)
    for number in range(5, 9):  # as many as are published, and more
        house.add(f"{number}.wav", number, seconds=0.5)
    assert house.run().waiting == 2
    assert (house.published().model.version, house.published().n) == (OLD.version, 5)
    (house.data.parent / "0.wav").rename(house.music / "0.wav")
    assert house.run().waiting == 1
    assert (house.published().model.version, house.published().n) == (OLD.version, 5)
    assert house.run(prune=True).waiting == 0
    assert (house.published().model.version, house.published().n) == (NEW.version, 8)


def test_a_switch_waits_for_no_folder_that_is_none_any_more(house: House) -> None:
    house.run()
    house.music.rename(house.music.with_name("before"))
    house.music = house.music.with_name("elsewhere")
    for number in range(5, 7):
        house.add(f"{number}.wav", number, seconds=0.5)
    house.models = (NEW,)
    assert house.run().waiting == 5
    assert house.published().model.version == OLD.version
    assert house.run(all_listed=True).waiting == 0
    assert (house.published().model.version, house.published().n) == (NEW.version, 2)


@pytest.mark.parametrize(("reason", "waiting"), [(UNREADABLE, 1), (CANNOT_ANALYSE, 0)])
def test_a_switch_waits_for_what_cannot_be_read_just_now(
    house: House, reason: str, waiting: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.run()
    house.models = (NEW,)
    listen = Workers.listen

    def listen_badly(self: Workers, root: Path, file: FileFacts, *rest: Any, **more: Any) -> Any:
        if file.path == "3.wav":
            raise DecodingError(reason, "test")
        return listen(self, root, file, *rest, **more)

    with monkeypatch.context() as broken:
        broken.setattr(Workers, "listen", listen_badly)
        assert house.run().waiting == waiting
    snapshot = house.published()
    expected = (OLD.version, 5) if waiting else (NEW.version, 4)
    assert (snapshot.model.version, snapshot.n) == expected
    assert house.run().waiting == 0
    assert (house.published().model.version, house.published().n) == (NEW.version, 5)


def test_publishing_a_part_is_asked_for(house: House) -> None:
    house.run()
    house.models = (NEW,)
    house.run(limit=2, partial=True)
    assert (house.published().model.version, house.published().n) == (NEW.version, 2)


def test_a_roll_back_stays_until_there_is_something_new(house: House) -> None:
    first = house.run().snapshot
    house.add("5.wav", 5, seconds=0.5)
    second = house.run().snapshot
    assert [one.version for one in kept_snapshots(house.data)] == [second, first]
    assert roll_back(house.data).version == first
    assert house.run().snapshot == first  # nothing new: it stays
    assert house.published().n == 5
    house.add("6.wav", 6, seconds=0.5)
    third = house.run().snapshot
    assert house.published().n == 7
    house.add("7.wav", 7, seconds=0.5)
    house.run()
    kept = {one.version for one in kept_snapshots(house.data)}
    assert len(kept) == 3  # embedding.keep
    assert third in kept
    assert first not in kept


def test_what_a_left_model_said_stays_as_long_as_its_snapshot_is_kept(house: House) -> None:
    def known() -> set[str]:
        with Library.open(house.data, read_only=True) as library:
            return {model.version for model in library.models() if library.count_analysed(model)}

    house.models = (OLD, TAGS)
    first = house.run().snapshot
    house.models = (NEW, TAGS)
    house.run()
    with Library.open(house.data, read_only=True) as library:
        assert library.retired() == {f"{OLD.name}={OLD.version}": first}
    # Going back: the snapshot at once, and the model without hearing anything again.
    assert roll_back(house.data).version == first
    house.models = (OLD, TAGS)
    assert house.run().report.unchanged == 5
    assert house.published().model.version == OLD.version
    house.models = (NEW, TAGS)
    assert house.run().report.unchanged == 5
    for number in (5, 6):  # the third snapshot since, and the fourth
        assert {OLD.version, NEW.version, TAGS.version} <= known()
        house.add(f"{number}.wav", number, seconds=0.5)
        house.run()
    assert OLD.version not in known()
    assert {NEW.version, TAGS.version} <= known()
    with Library.open(house.data, read_only=True) as library:
        assert library.retired() == {}
        assert library.check() == []
        assert OLD.version not in {model.version for model in library.models()}
    snapshot = house.published()
    assert (snapshot.n, snapshot.model.version) == (7, NEW.version)


def test_what_older_measures_said_goes_when_all_is_measured_anew(house: House) -> None:
    house.run()
    older = replace(FINGERPRINT, version="older")
    with Library.open(house.data) as library:
        for track in library.analysed(OLD.model):
            library.add_analyses(track, [Analysis(older, np.zeros(older.dim, np.float32))])
    house.add("5.wav", 5, seconds=0.5)
    house.add("6.wav", 6, seconds=0.5)
    house.run(limit=1)
    with Library.open(house.data, read_only=True) as library:
        assert library.count_analysed(older) == 5
    house.run()
    with Library.open(house.data, read_only=True) as library:
        assert older not in library.models()
        assert library.count_analysed(FINGERPRINT) == 7
