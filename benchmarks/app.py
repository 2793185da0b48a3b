"""Prints how fast the local application is and what it needs, on this machine.

    python benchmarks/app.py RUN VIDEO

It starts `hts app RUN`, waits for the page and for the tabs that recognize inside the browser, uploads the
video, labels it twice (the first time a worker starts, the second time it is warm) and explains its label.
The memory is that of the server's process and of its workers after that. Needs Linux, for /proc.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
import urllib.request
from importlib.metadata import distribution
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hidden_two_stream.environment import machine

LIBRARIES = ("starlette", "uvicorn", "anyio", "click", "h11", "idna", "typing_extensions")


def ask(address: str, path: str, data: bytes | None = None, method: str | None = None) -> Any:
    """Return the JSON of an answer."""
    request = urllib.request.Request(f"{address}api/{path}", data=data, method=method)
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


def finish(address: str, request: dict[str, str]) -> tuple[float, dict[str, Any]]:
    """Run a job; return the seconds from the request to the end, and the job."""
    began = time.perf_counter()
    job = ask(address, "jobs", json.dumps(request).encode())
    while job["state"] in ("queued", "running"):
        time.sleep(0.02)
        job = ask(address, f"jobs/{job['id']}")
    if job["state"] != "done":
        sys.exit(f"{request['kind']}: {job['error']}")
    return time.perf_counter() - began, job


def memory_mb(process: int) -> float:
    """Return the resident memory of a process, MB."""
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def workers_of(process: int) -> list[int]:
    """Return the processes that a process started."""
    listed = Path(f"/proc/{process}/task").glob("*/children")  # one list for each thread
    return [int(number) for path in listed for number in path.read_text().split()]


def size_mb(name: str) -> float:
    """Return the size of an installed library, MB."""
    files = distribution(name).files or ()
    places = [Path(str(file.locate())) for file in files if "__pycache__" not in file.parts]
    return sum(place.stat().st_size for place in places if place.is_file()) / 1e6


def measure(address: str, process: int, video: Path, began: float) -> dict[str, Any]:
    """Return all figures of a running application."""
    run = ask(address, "state")["runs"][0]["id"]
    figures: dict[str, Any] = {"seconds until the page answers": time.perf_counter() - began}
    while ask(address, "state")["page"]["preparing"]:
        time.sleep(0.1)
    page = ask(address, "state")["page"]
    figures["seconds until the browser can recognize"] = page["problem"] or time.perf_counter() - began
    start = time.perf_counter()
    upload = ask(address, f"videos?name={video.name}", video.read_bytes())
    figures["upload and look at it, s"] = time.perf_counter() - start
    figures["length of the video, s"] = upload["seconds"]
    request = {"kind": "label", "video": upload["id"], "run": run, "protocol": "10x1"}
    figures["label it, first job, s"], _ = finish(address, request)
    figures["label it again, s"], job = finish(address, request)
    asked = {"kind": "explain", "video": upload["id"], "run": run, "label": job["result"]["best"]}
    figures["explain it, s"], _ = finish(address, asked)
    figures["memory of the server, MB"] = memory_mb(process)
    figures["memory of the workers, MB"] = sum(map(memory_mb, workers_of(process)))
    figures["libraries, MB"] = sum(map(size_mb, LIBRARIES))
    figures["libraries"] = len(LIBRARIES)
    return figures


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("run", type=Path)
    parser.add_argument("video", type=Path)
    arguments = parser.parse_args()
    began = time.perf_counter()
    command = [sys.executable, "-m", "hidden_two_stream", "app", str(arguments.run.resolve()), "--port", "0"]
    with (
        TemporaryDirectory() as folder,
        subprocess.Popen([*command, "--json"], stdout=subprocess.PIPE, cwd=folder) as process,
    ):
        try:
            assert process.stdout is not None
            address = json.loads(process.stdout.readline())["address"]
            figures = measure(address, process.pid, arguments.video, began)
        finally:
            process.terminate()
    print(f"{machine()}; {arguments.video.name}")
    for name, value in figures.items():
        print(f"{name:45} {value:.2f}" if isinstance(value, float) else f"{name:45} {value}")


if __name__ == "__main__":
    main()
