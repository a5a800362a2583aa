"""The loop: it learns, goes on where it was stopped, and says what it cannot use."""

from __future__ import annotations

# ruff: noqa: E402 - what needs torch comes after asking for it
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs torch (make test TORCH=1)")

from torch import Tensor, nn

from training.__main__ import main
from training.bank import Bank
from training.batches import Grid
from training.checkpoints import CHECKPOINT, STATE, average, fill, load, write
from training.copies import PROBES
from training.corpus import Excerpt
from training.errors import CheckpointError, CorpusError, TeacherError
from training.preparation import lesson_path, version_path
from training.recipe import Recipe, recipe_of
from training.students import ears
from training.teachers import Teacher
from training.trainer import Training
from training.validation import Validation

RECIPE = Recipe(
    candidate="mobilenet",
    copies=1,
    steps=15,
    sources=4,
    window_s=1.0,
    memory=64,
    learning_rate=3e-3,
    teachers={"mn04": 1.0},
    forgiving=True,
    kin=0.0,
    strangers=0.3,
    odd=4,
)


class Bands(nn.Module):
    """A teacher that hears the mean and the unrest of each band."""

    def __init__(self) -> None:
        super().__init__()
        draw = torch.Generator().manual_seed(1)
        self.register_buffer("into", torch.randn(128, 512, generator=draw))
        self.register_buffer("tags", torch.randn(256, 527, generator=draw) / 8)

    def forward(self, mel: Tensor) -> tuple[Tensor, Tensor]:
        found = torch.cat([mel.mean((1, 3)), mel.std(3)[:, 0]], 1)
        return found @ torch.cat([self.into, self.into.flip(0)]), found @ self.tags


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Excerpt]]:
    """Six sources of three excerpts each, with a sound of their own: twelve seconds of bands."""
    folder = tmp_path_factory.mktemp("prepared")
    draw = np.random.default_rng(2)
    excerpts = []
    for source in range(6):
        colour = draw.normal(0, 0.5, 128)
        for piece in range(3):
            excerpt = Excerpt(f"s{source}/{piece}.ogg", f"s{source}", "")
            own = colour + draw.normal(0, 0.25, 128)
            for version in range(1 + len(PROBES)):
                noise = draw.normal(0, 0.2, (1200, 128))
                mel = own + noise + np.sin(np.arange(1200) / (9 + piece))[:, None] * 0.2
                np.save(version_path(folder, excerpt, version), mel.astype(np.float16))
            moods = {"moods": (own[:56] * 3).astype(np.float32)}
            with lesson_path(folder, excerpt).open("wb") as file:
                np.savez(file, **moods)
            excerpts.append(excerpt)
    return folder, excerpts


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    """Threads that wait for each other spin: beside other work they take many times as long."""
    torch.set_num_threads(1)


@pytest.fixture
def bank(prepared: tuple[Path, list[Excerpt]]) -> Bank:
    return Bank(*prepared, versions=2)


def test_it_learns_and_keeps_what_it_measured(
    bank: Bank, prepared: tuple[Path, list[Excerpt]], tmp_path: Path
) -> None:
    folder, excerpts = prepared
    teacher = Teacher(Bands())
    validation = Validation(Bank(folder, excerpts[::6], 1 + len(PROBES)), teacher)
    training = Training(RECIPE, bank, teacher, Path(), tmp_path, validation)
    before = validation.figures(ears(training.best()), probes=False)
    rows: list[dict[str, float]] = []
    assert training.run(rows.append, every=5)
    # What a network that knows nothing learns first, and by far the most, in fifteen steps.
    assert rows[-1]["loss relational"] < 0.9 * rows[0]["loss relational"]
    assert rows[-1]["R@1 clean"] >= before["R@1 clean"]
    assert -1 <= rows[-1]["labels spearman"] <= 1
    student = type(training.student)().eval()
    fill(student, tmp_path / CHECKPOINT)
    assert validation.figures(ears(student), probes=False)["R@1 clean"] == rows[-1]["R@1 clean"]


def test_a_stopped_run_goes_on_to_the_same_weights(bank: Bank, tmp_path: Path) -> None:
    recipe = replace(RECIPE, steps=4)
    whole = Training(recipe, bank, Teacher(Bands()), Path(), tmp_path / "whole")
    assert whole.run(lambda _: None)
    halves = Training(recipe, bank, Teacher(Bands()), Path(), tmp_path / "halves")
    for _ in range(2):
        halves.advance()
    halves.save()
    later = Training(recipe, bank, Teacher(Bands()), Path(), tmp_path / "halves")
    assert later.run(lambda _: None)
    assert later.step == 4
    for name, value in whole.averaged.state.items():
        assert torch.equal(value, later.averaged.state[name]), name


def test_a_student_that_starts_from_a_run_keeps_its_space(bank: Bank, tmp_path: Path) -> None:
    first = Training(replace(RECIPE, steps=1), bank, Teacher(Bands()), Path(), tmp_path / "first")
    assert first.run(lambda _: None)
    start = str(tmp_path / "first" / CHECKPOINT)
    recipe = replace(RECIPE, steps=2, start=start, seed=7)
    second = Training(recipe, bank, Teacher(Bands()), Path(), tmp_path / "second")
    second.advance()
    assert first.geometry is not None
    assert second.geometry is not None
    assert torch.equal(first.geometry.axes, second.geometry.axes)


def test_checkpoints_with_one_start_have_a_mean(bank: Bank, tmp_path: Path) -> None:
    paths = []
    for seed in (1, 2):
        folder = tmp_path / str(seed)
        Training(replace(RECIPE, steps=1, seed=seed), bank, Teacher(Bands()), Path(), folder).save()
        paths.append(folder / CHECKPOINT)
    average(paths, tmp_path / "mean")
    one, other, mean = (
        torch.load(path, weights_only=True) for path in (*paths, tmp_path / "mean" / CHECKPOINT)
    )
    for part in ("network", "moods"):
        for name, value in mean[part].items():
            expected = (one[part][name].double() + other[part][name].double()) / 2
            assert torch.allclose(value.double(), expected, atol=1e-6), name
    assert load(tmp_path / "mean" / STATE) == {"geometry": None}
    with pytest.raises(CheckpointError, match="take the place"):
        average(paths, tmp_path / "1")
    write(tmp_path / "moodless.pt", {**load(paths[1]), "moods": None})
    average([paths[0], tmp_path / "moodless.pt"], tmp_path / "mean")
    assert load(tmp_path / "mean" / CHECKPOINT)["moods"] is None
    (tmp_path / "broken.pt").write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match=r"broken\.pt"):
        average([paths[0], tmp_path / "broken.pt"], tmp_path / "mean")


def test_a_run_stops_after_its_time_and_says_so(bank: Bank, tmp_path: Path) -> None:
    training = Training(RECIPE, bank, Teacher(Bands()), Path(), tmp_path)
    assert not training.run(lambda _: None, most_s=0)
    assert (tmp_path / CHECKPOINT).exists()


def test_the_state_of_another_recipe_is_refused(bank: Bank, tmp_path: Path) -> None:
    Training(RECIPE, bank, Teacher(Bands()), Path(), tmp_path).save()
    other = Training(replace(RECIPE, kin=0.5), bank, Teacher(Bands()), Path(), tmp_path)
    with pytest.raises(CheckpointError, match="another recipe"):
        other.restore()


def test_a_damaged_state_is_refused_by_name(bank: Bank, tmp_path: Path) -> None:
    (tmp_path / "state.pt").write_bytes(b"no state")
    training = Training(RECIPE, bank, Teacher(Bands()), Path(), tmp_path)
    with pytest.raises(CheckpointError, match=r"state\.pt"):
        training.restore()
    (tmp_path / "c.pt").write_bytes(b"no checkpoint")
    with pytest.raises(CheckpointError, match=r"c\.pt"):
        Training(
            replace(RECIPE, start=str(tmp_path / "c.pt")), bank, Teacher(Bands()), Path(), tmp_path
        )


def test_a_checkpoint_cut_anywhere_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    write(path, {"network": {"a": torch.arange(50.0)}, "moods": None})
    whole = path.read_bytes()
    for length in (0, 1, 3, 30, *range(64, len(whole), len(whole) // 12)):
        path.write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match=r"checkpoint\.pt cannot be read"):
            load(path)


def test_what_cannot_be_written_leaves_nothing_half_done(tmp_path: Path) -> None:
    path = tmp_path / "state.pt"
    path.mkdir()
    with pytest.raises(CheckpointError, match=r"state\.pt cannot be written"):
        write(path, {"step": 1})
    assert list(tmp_path.iterdir()) == [path]


def test_nothing_prepared_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="prepare"):
        Bank(tmp_path, [Excerpt("a/b.ogg", "a", "")], 1)


def test_copies_that_come_later_are_taken_in(
    prepared: tuple[Path, list[Excerpt]], tmp_path: Path
) -> None:
    folder, excerpts = prepared
    one = excerpts[0]
    for path in (version_path(folder, one, 0), lesson_path(folder, one)):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    bank = Bank(tmp_path, [one], versions=2)
    assert bank.refresh() == 1
    path = version_path(folder, one, 1)
    (tmp_path / path.name).write_bytes(path.read_bytes())
    assert bank.refresh() == 0
    first = torch.tensor([0])
    read = bank.read(first, first + 1, torch.tensor([2.0]), 1.0)
    assert np.allclose(read[0, 0].numpy(), np.load(path)[200:300].T)


def test_another_teacher_is_asked_anew(bank: Bank, tmp_path: Path) -> None:
    other = Bands()
    other.tags += 1
    first, again, second = (
        Grid(bank, Teacher(network), 1.0, tmp_path / "teacher.pt")
        for network in (Bands(), Bands(), other)
    )
    assert torch.equal(first.tags, again.tags)
    assert not torch.equal(first.tags, second.tags)


def test_a_teacher_who_said_nothing_is_missed(bank: Bank, tmp_path: Path) -> None:
    recipe = replace(RECIPE, teachers={"mn04": 1.0, "musicnn": 0.5})
    with pytest.raises(TeacherError, match=r"musicnn said nothing .* only mn04, mn04 low"):
        Training(recipe, bank, Teacher(Bands()), Path(), tmp_path)


def test_a_run_goes_on_with_the_music_that_it_began_with(
    prepared: tuple[Path, list[Excerpt]], tmp_path: Path
) -> None:
    folder, excerpts = prepared
    Training(RECIPE, Bank(folder, excerpts, 2), Teacher(Bands()), Path(), tmp_path).save()
    fewer = Training(RECIPE, Bank(folder, excerpts[1:], 2), Teacher(Bands()), Path(), tmp_path)
    with pytest.raises(CheckpointError, match="other music"):
        fewer.restore()


def test_losses_are_means_of_the_steps_since_the_last(
    bank: Bank, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def advance(self: Training) -> dict[str, float]:
        self.step += 1
        return {"direct": float(self.step)}

    monkeypatch.setattr(Training, "advance", advance)
    rows: list[dict[str, float]] = []
    training = Training(replace(RECIPE, steps=3), bank, Teacher(Bands()), Path(), tmp_path)
    training.run(rows.append, every=2)
    assert [row["loss direct"] for row in rows] == [1.5, 3.0]


def test_a_probe_that_is_not_prepared_has_no_figure(
    prepared: tuple[Path, list[Excerpt]], tmp_path: Path
) -> None:
    folder, excerpts = prepared
    for path in folder.iterdir():
        if path.name != version_path(folder, excerpts[0], 3).name:
            (tmp_path / path.name).symlink_to(path)
    bank = Bank(tmp_path, excerpts[:4], 1 + len(PROBES))
    teacher = Teacher(Bands())

    def hear(mel: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        vectors, tags = Bands()(mel)
        return vectors, tags, tags[:, :0]

    figures = Validation(bank, teacher).figures(hear)
    assert [name for name in figures if name.startswith("own ")] == [
        f"own {codec.name}" for i, codec in enumerate(PROBES, start=1) if i != 3
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{steps: 4}", "no JSON"),
        ("[4]", "JSON object"),
        ('{"step": 4}', "no step: did you mean steps"),
        ('{"steps": "4"}', "steps is '4': it takes a int"),
        ('{"steps": true}', "steps is True"),
        ('{"sources": 2.5}', r"sources is 2\.5"),
        ('{"moods_teach": 1}', "moods_teach is 1: it takes a bool"),
        ('{"teachers": ["mn04"]}', "teachers is a table"),
        ('{"teachers": {"mn04": "1"}}', "mn04 is '1'"),
        ('{"learning_rate": NaN}', "learning_rate is nan"),
        ('{"mixed": 15}', "mixed is 15: a share"),
        ('{"contrast": -1}', "contrast is -1"),
    ],
)
def test_a_recipe_that_cannot_be_read_is_one_clear_error(text: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        recipe_of(text)


def test_a_recipe_is_read_with_its_defaults() -> None:
    asked = recipe_of('{"kin": 1, "teachers": {"mn04": 1}}', copies=4)
    assert asked == Recipe(kin=1.0, teachers={"mn04": 1.0}, copies=4)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["train", "--recipe", "{}"], "no folder"),
        (["train", "--recipe", '{"candidate": "mn40"}'], "no candidate is called 'mn40'"),
        (["train", "--recipe", '{"copies": 3}'], "3 copies, --copies 4"),
        (["measure"], "weights are not there"),
    ],
)
def test_a_command_that_cannot_run_says_why_in_one_line(
    arguments: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command, *rest = arguments
    folders = [f"--{name}={tmp_path / name}" for name in ("music", "models", "work")]
    out = [f"--out={tmp_path / 'out'}"] if command == "train" else []
    assert main([command, *folders, *out, *rest]) == 1
    said = capsys.readouterr().err
    assert said.startswith("training: ")
    assert said.count("\n") == 1
    assert told in said


@pytest.mark.parametrize(
    "wrong", [{"sources": 1}, {"windows": 1}, {"window_s": 11.0}, {"steps": 0}]
)
def test_a_recipe_that_cannot_be_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"window|excerpt"):
        replace(RECIPE, **wrong)
