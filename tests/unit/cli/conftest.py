"""What the tests of the command share."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from catalog.library import Library
from catalog.snapshot import SnapshotArrays, TagGroup, write_snapshot
from catalog.tracks import Analysis, FileFacts, Model, RunReport, Song, Tags
from cli.main import main


@dataclass(frozen=True)
class Result:
    """How one call of the command ended."""

    code: int
    out: str
    err: str


Segue = Callable[..., Result]


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty working directory, and no configuration from outside."""
    for name in list(os.environ):
        if name.startswith("SEGUE_") and name != "SEGUE_SHARED":
            monkeypatch.delenv(name)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def segue(capsys: pytest.CaptureFixture[str]) -> Segue:
    """Runs `segue` in this process: segue("config", "show")."""

    def run(*arguments: str) -> Result:
        capsys.readouterr()
        code = main(arguments)
        out, err = capsys.readouterr()
        return Result(code, out, err)

    return run


#: What makes root a user like others, who may not pass over permissions.
_NO_RIGHTS = "-dac_override,-dac_read_search,-fowner"
_PLAIN_USER = ("setpriv", "--bounding-set", _NO_RIGHTS, "--inh-caps", _NO_RIGHTS)
_NOBODY = 65534


@pytest.fixture
def closed(tmp_path: Path) -> Iterator[Callable[[Path], Segue]]:
    """Closes a folder to the user; gives what runs `segue` as that user, in a process of its own,
    in this working directory."""
    folders: list[Path] = []
    prefix: tuple[str, ...] = ()
    if os.getuid() == 0:
        if shutil.which("setpriv") is None:
            pytest.skip("root may read everything here: there is no setpriv")
        prefix = _PLAIN_USER
        if subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode:
            pytest.skip("root may read everything here: setpriv is not allowed")

    def close(folder: Path) -> Segue:
        folders.append(folder)
        if prefix:
            os.chown(folder, _NOBODY, -1)
            folder.chmod(0o700)
        else:
            folder.chmod(0)

        def run(*arguments: str) -> Result:
            command = [*prefix, sys.executable, "-I", "-m", "cli.main", *arguments]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            return Result(done.returncode, done.stdout, done.stderr)

        return run

    yield close
    for folder in folders:
        folder.chmod(0o700)


#: artist, title, album, recording code; tracks 1… in this order.
TRACKS = (
    ("Ann Ember", "Slow River", "Rivers", 0),
    ("Ann Ember", "Deep River", "Rivers", 1),
    ("Béla Fonó", "Csárdás", "Táncok", 2),
    ("Béla Fonó", "Lassú", "Táncok", 3),
    ("Circuit", "Pulse", "Voltage", 4),
    ("Circuit", "Pulse (Live)", "Stage", 4),
    ("Circuit", "Overload", "Voltage", 5),
)

MODEL = Model("timbre", "1", dim=8)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder with a real library of seven tracks, five of them linked, and a snapshot."""
    data = tmp_path / "data"
    music = tmp_path / "music"
    music.mkdir()
    rng = np.random.default_rng(7)
    vectors = rng.normal(size=(len(TRACKS), MODEL.dim)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    names = list(dict.fromkeys(artist for artist, *_ in TRACKS))
    albums = list(dict.fromkeys(album for _, _, album, _ in TRACKS))
    paths, ids = [], []
    with Library.open(data) as library:
        root = library.root_id(music)
        run = library.start_run()
        for row, (artist, title, album, _) in enumerate(TRACKS):
            paths.append(f"{artist}/{album}/{row + 1:02} - {title}.flac")
            ids.append(
                library.store(
                    root,
                    FileFacts(paths[row], 1000 + row, 1),
                    f"key{row}",
                    200.0,
                    Tags(title=title, artist=artist, album=album),
                    [Analysis(MODEL, vectors[row])],
                )
            )
        bad = FileFacts("broken.mp3", 3, 1)
        library.record_failure(root, bad, "does-not-decode", "no audio frames")
        library.finish_run(run, RunReport(embedded=7, skipped=1, seconds=2.0, model="timbre"))
        songs = [
            Song(f"song-{row + 1}", path=path, path_is_true=True) for row, path in enumerate(paths)
        ]
        library.replace_songs(songs, {f"song-{i}": ids[i - 1] for i in range(1, 6)})
    write_snapshot(
        data,
        SnapshotArrays(
            model=MODEL,
            vectors=vectors,
            track_ids=np.array(ids, np.int64),
            artist=np.array([names.index(a) for a, *_ in TRACKS], np.int32),
            album=np.array([albums.index(a) for _, _, a, _ in TRACKS], np.int32),
            recording=np.array([code for *_, code in TRACKS], np.int32),
            duration_s=np.full(len(TRACKS), 200, np.float32),
            year=np.zeros(len(TRACKS), np.int16),
            text={
                "path": paths,
                "title": [title for _, title, _, _ in TRACKS],
                "artist": [artist for artist, *_ in TRACKS],
                "album": [album for _, _, album, _ in TRACKS],
            },
            tag_groups={
                "moods": TagGroup(
                    ("sad", "happy"),
                    np.array([[2, -1], [1.5, -1], [-1, 2], [0, 0], [-1, 1], [-1, 1], [-0.5, 0]],
                             np.float16),
                )
            },
        ),
    )  # fmt: skip
    return data
