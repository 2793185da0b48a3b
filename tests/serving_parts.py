"""A server of files and of parts of files on loopback, as an object store with a web address is."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar


class Server(SimpleHTTPRequestHandler):
    """Sends files, and parts of them if `parts` is set; the next `failures` requests for a shard fail."""

    parts: ClassVar[bool] = True
    failures: ClassVar[int] = 0
    asked: ClassVar[list[str]] = []

    def log_message(self, *_: Any) -> None:
        pass

    def end_headers(self) -> None:
        if self.parts:
            self.send_header("Accept-Ranges", "bytes")
        super().end_headers()

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        Server.asked.append(f"{Path(self.path).name} {wanted}")
        if Server.failures and self.path.endswith(".tar"):
            Server.failures -= 1
            self.send_error(503)
            return
        path = Path(self.translate_path(self.path))
        if wanted is None or not self.parts or not path.is_file():
            super().do_GET()
            return
        start, _, stop = wanted.removeprefix("bytes=").partition("-")
        whole = path.read_bytes()
        part = whole[int(start) : int(stop or len(whole) - 1) + 1]
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {start}-{int(start) + len(part) - 1}/{len(whole)}")
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        self.wfile.write(part)


@contextmanager
def serve_parts(folder: Path) -> Iterator[str]:
    """Serve a folder, and yield its address, such as "http://127.0.0.1:40000"."""
    Server.asked.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Server, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
