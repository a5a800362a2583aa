import hashlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from embedder.errors import WeightsError
from embedder.models.weights import Weights, pull, state, verify

CONTENT = np.random.default_rng(0).bytes(700_000)


@dataclass
class Publisher:
    """A real server of one file; `cut_after` breaks that many answers off after so many bytes."""

    url: str = ""
    content: bytes = CONTENT
    ranges: bool = True
    status: int = 200
    cut_after: list[int] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)


@pytest.fixture
def publisher() -> Iterator[Publisher]:
    served = Publisher()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.headers.get("Range", "")
            served.asked.append(wanted)
            start = int(wanted[6:-1]) if wanted and served.ranges else 0
            body = served.content[start:]
            if served.status != 200:
                self.send_error(served.status)
                return
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(body)))
            if start:
                total = len(served.content)
                self.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
            self.end_headers()
            if served.cut_after:
                body = body[: served.cut_after.pop(0)]
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    served.url = f"http://127.0.0.1:{server.server_port}/weights.pt"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield served
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def weights(publisher: Publisher) -> Weights:
    sha256 = hashlib.sha256(CONTENT).hexdigest()
    return Weights("weights.pt", publisher.url, sha256, len(CONTENT))


def test_pull_fetches_verifies_and_does_it_once(
    publisher: Publisher, weights: Weights, tmp_path: Path
) -> None:
    folder = tmp_path / "models"
    heard: list[tuple[str, int, int]] = []
    assert state([weights], folder) == "missing"
    assert pull([weights], folder, lambda *now: heard.append(now)) == [folder / "weights.pt"]
    assert (folder / "weights.pt").read_bytes() == CONTENT
    assert heard[-1] == ("weights.pt", len(CONTENT), len(CONTENT))
    assert [path.name for path in folder.iterdir()] == ["weights.pt"]
    assert state([weights], folder) == "ready"
    verify([weights], folder)
    assert pull([weights], folder) == []
    assert publisher.asked == [""]


def test_a_cut_connection_is_taken_up_where_it_broke(
    publisher: Publisher, weights: Weights, tmp_path: Path
) -> None:
    publisher.cut_after = [300_000, 200_000]
    pull([weights], tmp_path)
    assert (tmp_path / "weights.pt").read_bytes() == CONTENT
    assert publisher.asked == ["", "bytes=300000-", "bytes=500000-"]


def test_a_later_run_goes_on_with_the_part(
    publisher: Publisher, weights: Weights, tmp_path: Path
) -> None:
    (tmp_path / "weights.pt.part").write_bytes(CONTENT[:123_456])
    assert state([weights], tmp_path) == "partial"
    pull([weights], tmp_path)
    assert publisher.asked == ["bytes=123456-"]
    verify([weights], tmp_path)


def test_a_server_without_ranges_sends_all_of_it_again(
    publisher: Publisher, weights: Weights, tmp_path: Path
) -> None:
    publisher.ranges = False
    (tmp_path / "weights.pt.part").write_bytes(CONTENT[:1000])
    pull([weights], tmp_path)
    verify([weights], tmp_path)


def test_a_whole_part_is_put_in_place_without_asking(
    publisher: Publisher, weights: Weights, tmp_path: Path
) -> None:
    (tmp_path / "weights.pt.part").write_bytes(CONTENT)
    pull([weights], tmp_path)
    assert publisher.asked == []
    verify([weights], tmp_path)


def test_a_wrong_sha256_is_never_put_in_place(
    publisher: Publisher, weights: Weights, tmp_path: Path
) -> None:
    publisher.content = CONTENT[:-1] + b"!"
    with pytest.raises(WeightsError, match="wrong sha256") as caught:
        pull([weights], tmp_path)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("length", [10, 2_000_000])
def test_another_length_is_a_wrong_file(
    length: int, publisher: Publisher, weights: Weights, tmp_path: Path
) -> None:
    publisher.content = bytes(length)
    with pytest.raises(WeightsError, match="wrong sha256"):
        pull([weights], tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_address_says_what_to_do(
    publisher: Publisher, weights: Weights, tmp_path: Path
) -> None:
    publisher.status = 404
    with pytest.raises(WeightsError, match=r"HTTP 404.*by hand"):
        pull([weights], tmp_path)


def test_a_dead_server_is_one_line_and_keeps_what_came(
    publisher: Publisher, weights: Weights, tmp_path: Path
) -> None:
    (tmp_path / "weights.pt.part").write_bytes(CONTENT[:1000])
    dead = replace(weights, url="http://127.0.0.1:9/weights.pt")
    with pytest.raises(WeightsError, match="run `segue models pull` again"):
        pull([dead], tmp_path)
    assert (tmp_path / "weights.pt.part").stat().st_size == 1000


def test_verify_finds_a_flipped_bit(weights: Weights, tmp_path: Path) -> None:
    content = bytearray(CONTENT)
    content[5000] ^= 1
    (tmp_path / "weights.pt").write_bytes(content)
    assert state([weights], tmp_path) == "ready"
    with pytest.raises(WeightsError, match="delete the file"):
        verify([weights], tmp_path)
    with pytest.raises(WeightsError, match="delete the file"):
        pull([weights], tmp_path)
