from embedder.strategy import MOST_WHOLE_BYTES, Strategy

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
