"""Prints how `hts serve` answers many uploads at a time, beside one at a time, on loopback only.

    python benchmarks/serve.py RUN VIDEO... [--clients 50] [--seconds 30] [--loads 2]

It starts `hts serve RUN` and sends the videos one after the other, then --loads times from many clients at a
time, then one after the other again. Every tenth upload is no video, and every fiftieth is larger than may
be, so that refusals are part of the load. A client that is told to come back (429) waits as long as it is
told. A load ends after --seconds or --most requests. Printed are the answers by status, which must be 200,
413, 422 or 429; the times of the 200s; the throughput; and the memory of the server and of its workers after
each load, which must not grow from load to load. Needs Linux, for /proc.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

import numpy as np

from hidden_two_stream.environment import machine

DECLARED = {200, 413, 422, 429}
MAX_UPLOAD_MB = 4.0


@dataclass
class Load:
    """What clients saw.

    Attributes:
        videos: contents of the videos.
        address: host and port.
        seconds: when the clients stop.
        most: requests at which they stop.
        answers: number of answers by status; failed connections count as 0.
        times: time of each status 200, s.
        elapsed: from the first request to the last answer, s.
    """

    videos: list[bytes]
    address: tuple[str, int]
    seconds: float
    most: int
    answers: Counter[int] = field(default_factory=Counter)
    times: list[float] = field(default_factory=list)
    elapsed: float = 0.0
    _sent: int = 0
    _guard: threading.Lock = field(default_factory=threading.Lock)

    def run(self, clients: int, *, only_videos: bool = False) -> None:
        """Send requests from a number of clients at a time."""
        began = time.perf_counter()
        threads = [
            threading.Thread(target=self._client, args=(began + self.seconds, only_videos))
            for _ in range(clients)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.elapsed = time.perf_counter() - began

    def _client(self, end: float, only_videos: bool) -> None:
        connection = http.client.HTTPConnection(*self.address, timeout=120)
        while time.perf_counter() < end:
            with self._guard:
                number = self._sent
                self._sent += 1
            if number >= self.most:
                break
            began = time.perf_counter()
            status, wait = self._request(connection, self._content(number, only_videos))
            with self._guard:
                self.answers[status] += 1
                if status == 200:
                    self.times.append(time.perf_counter() - began)
            time.sleep(wait)
        connection.close()

    def _content(self, number: int, only_videos: bool) -> bytes:
        if not only_videos and number % 50 == 49:
            return b"x" * round(1.5e6 * MAX_UPLOAD_MB)
        if not only_videos and number % 10 == 9:
            return b"no video" * 1000
        return self.videos[number % len(self.videos)]

    def _request(self, connection: http.client.HTTPConnection, content: bytes) -> tuple[int, float]:
        try:
            connection.request("POST", "/v1/predict", content, {"Content-Type": "video/mp4"})
            answer = connection.getresponse()
            json.loads(answer.read())
        except (OSError, http.client.HTTPException, ValueError) as error:
            print(f"failed: {type(error).__name__}: {error}", file=sys.stderr)
            connection.close()
            return 0, 0.1
        return answer.status, float(answer.getheader("Retry-After", "0"))

    @property
    def per_second(self) -> float:
        """Predicted videos per second."""
        return len(self.times) / self.elapsed


def memory_mb(process: int) -> tuple[float, float]:
    """Return the resident memory of a process, and of those that it started together, MB."""
    children = [
        int(number)
        for path in Path(f"/proc/{process}/task").glob("*/children")
        for number in path.read_text().split()
    ]
    return _resident_mb(process), sum(map(_resident_mb, children))


def _resident_mb(process: int) -> float:
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def shown(name: str, load: Load) -> str:
    """Return a line about a load."""
    answers = ", ".join(f"{count} × {status}" for status, count in sorted(load.answers.items()))
    p50, p95 = np.quantile(load.times, (0.5, 0.95)) if load.times else (0.0, 0.0)
    return (
        f"{name:22} {load.per_second:6.2f} videos/s   p50 {1e3 * p50:6.0f} ms   p95 {1e3 * p95:6.0f} ms   "
        f"{answers}   in {load.elapsed:.1f} s"
    )


def measure(address: tuple[str, int], process: int, arguments: argparse.Namespace) -> bool:
    """Measure and print; return whether all answers are declared."""
    videos = [path.read_bytes() for path in arguments.videos]

    def load(seconds: float, most: int) -> Load:
        return Load(videos, address, seconds, most)

    load(10, 20).run(4)  # every worker decodes before the memory counts
    loads = [("one at a time", load(10, 100))]
    for number in range(arguments.loads):
        loads.append((f"{arguments.clients} clients, {number + 1}", load(arguments.seconds, arguments.most)))
    loads.append(("one at a time, again", load(10, 100)))
    for name, one in loads:
        is_alone = name.startswith("one")
        one.run(1 if is_alone else arguments.clients, only_videos=is_alone)
        own, workers = memory_mb(process)
        print(f"{shown(name, one)}; memory {own:.0f} + {workers:.0f} MB", flush=True)
    alone = np.mean([one.per_second for name, one in loads if name.startswith("one")])
    crowded = np.mean([one.per_second for name, one in loads if not name.startswith("one")])
    print(f"throughput: {crowded / alone:.2f} × that of one at a time")
    undeclared = {status for _, found in loads for status in found.answers} - DECLARED
    print(f"undeclared answers: {sorted(undeclared) or 'none'}")
    return not undeclared


def main() -> int:
    """Start the service, measure, and end it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("run", type=Path)
    parser.add_argument("videos", type=Path, nargs="+")
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--most", type=int, default=2000)
    parser.add_argument("--loads", type=int, default=2, help="how often the clients begin anew")
    parser.add_argument("--max-requests", type=int, default=40, help="of the service: fewer than clients")
    parser.add_argument("--workers", type=int, default=2, help="of the service")
    parser.add_argument("--protocol", default="10x1", help="of the service")
    arguments = parser.parse_args()
    command = [
        sys.executable, "-m", "hidden_two_stream", "serve", str(arguments.run.resolve()), "--port", "0",
        "--json", "--workers", str(arguments.workers), "--protocol", arguments.protocol,
        "--max-requests", str(arguments.max_requests), "--max-upload", str(MAX_UPLOAD_MB),
    ]  # fmt: skip
    with (
        TemporaryDirectory() as folder,
        subprocess.Popen(
            command, stdout=subprocess.PIPE, cwd=folder, env={**os.environ, "TMPDIR": folder}
        ) as process,
    ):
        try:
            assert process.stdout is not None
            parts = urlsplit(json.loads(process.stdout.readline())["address"])
            print(f"{machine()}; protocol {arguments.protocol}; {len(arguments.videos)} videos")
            is_right = measure((str(parts.hostname), int(parts.port or 0)), process.pid, arguments)
        finally:
            process.terminate()
            process.wait(60)
        left = list(Path(folder).iterdir())
        print(f"files left: {[path.name for path in left] or 'none'}")
    return 0 if is_right and not left else 1


if __name__ == "__main__":
    sys.exit(main())
