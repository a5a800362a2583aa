from subsonic.ids import genre_id, resolve_genre


def test_genre_ids_are_navidromes() -> None:
    assert genre_id("electronic") == genre_id("Electronic") == "7bLYq0Np81m1Wgy5N31nuG"
    assert genre_id("Soundtrack") == "6voh8cQvRZQJzTQYlj1qZp"  # as in the recorded calls


def test_a_genre_is_taken_by_name_or_by_id() -> None:
    names = ("Soundtrack", "Rock")
    assert resolve_genre("Rock", names) == "Rock"
    assert resolve_genre("unknown", names) == "unknown"
    assert resolve_genre("6voh8cQvRZQJzTQYlj1qZp", names) == "Soundtrack"
    assert resolve_genre("7bLYq0Np81m1Wgy5N31nuG", names) is None
    assert resolve_genre("ABCDEFGHIJKLMNOPQRSTUV", ["abcdefghijklmnopqrstuv"]) is not None
