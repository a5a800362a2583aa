import pytest

from bench.reading import FILES_ON_MOUNT, MOST_OVER_BEST, auto_s, on_mount
from embedder.strategy import MOST_WHOLE_BYTES, Strategy
from tests.unit.embedder.sounds import Recordings, noisy_music
from tests.unit.embedder.test_decoding import LONG, long_file

MB = 1_000_000


def settle(strategy: Strategy, *, seek_s: float, whole_s: float, files: int = 20) -> list[bool]:
    """What is chosen, file after file, on a mount where reading costs so much."""
    chosen = []
    for _ in range(files):
        whole = strategy.whole(".mp3", 5 * MB)
        seconds = whole_s if whole else seek_s
        strategy.learn(".mp3", 5 * MB, whole=whole, seconds=seconds, reads=1 if whole else 9)
        chosen.append(whole)
    return chosen


def test_a_quick_disk_is_never_read_whole() -> None:
    assert not any(settle(Strategy(), seek_s=0.01, whole_s=0.001))


def test_a_slow_mount_is_judged_by_the_clock() -> None:
    assert all(settle(Strategy(), seek_s=0.8, whole_s=0.6)[4:])
    assert not any(settle(Strategy(), seek_s=0.6, whole_s=0.8)[4:])


def test_what_is_huge_is_never_held_in_memory() -> None:
    strategy = Strategy()
    settle(strategy, seek_s=0.8, whole_s=0.6)
    assert not strategy.whole(".flac", MOST_WHOLE_BYTES + 1)


def test_kinds_do_not_judge_each_other() -> None:
    strategy = Strategy()
    settle(strategy, seek_s=0.8, whole_s=0.6)
    assert strategy.whole(".mp3", 5 * MB)
    assert not strategy.whole(".flac", 5 * MB)
    assert not strategy.whole(".mp3", 15 * MB)


@pytest.mark.parametrize(("suffix", "options"), [one[:2] for one in LONG])
def test_on_a_blob_mount_auto_is_as_good_as_the_better_way(
    suffix: str, options: dict[str, object], recordings: Recordings
) -> None:
    """30 ms a request, 10 MB/s, blocks of 1 MiB; by a clock that only reading moves."""
    path = recordings.get(noisy_music, **long_file(suffix, options))
    seek, whole = on_mount(path, whole=False), on_mount(path, whole=True)
    best_s = FILES_ON_MOUNT * min(seek[0], whole[0])
    assert auto_s(path, seek, whole) <= MOST_OVER_BEST * best_s
