"""A trained run as a web page that recognizes, and is taught, inside the browser.

The page is a static folder, or one HTML file: plain modules in `export/page`, the exported network, and the
libraries of `export.web_runtime`.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from safetensors.torch import save

from hidden_two_stream.checkpoint import DESCRIPTION_KEY, RunInfo, build_model, place_weights
from hidden_two_stream.errors import OutputError, UsageError
from hidden_two_stream.export.export import Export, export_model
from hidden_two_stream.export.onnx_file import require_libraries
from hidden_two_stream.export.single_file import single_file
from hidden_two_stream.export.web_runtime import runtime_files
from hidden_two_stream.files import atomic_write, make_folder
from hidden_two_stream.inference.onnx_recognizer import load_onnx
from hidden_two_stream.inference.predictor import Recognizer, load
from hidden_two_stream.inference.shipped import shipped_recognizer
from hidden_two_stream.progress import note

__all__ = ["WebExport", "export_web", "page_sources"]

_LIST = "files.js"
_MODEL, _DESCRIPTION, _BASE = "model.onnx", "model.json", "base.safetensors"
_WEBGPU = ("webgpu", "asyncify")  # parts of the names of files that only WebGPU needs


@dataclass(frozen=True)
class WebExport:
    """What was written.

    Attributes:
        path: the folder, or the HTML file.
        num_bytes: size of everything.
        num_first_bytes: what a browser loads at the first visit; the rest is for WebGPU and for saving.
        model: the export of the network, and how far it is from the run.
    """

    path: Path
    num_bytes: int
    num_first_bytes: int
    model: Export

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready form."""
        return asdict(self) | {"path": str(self.path), "model": self.model.to_dict()}

    def __str__(self) -> str:
        size = f"{self.num_bytes / 1e6:.1f} MB"
        if self.path.is_dir():
            size += f", of which a visitor loads {self.num_first_bytes / 1e6:.1f} MB"
        lines = [f"{self.path}: {size}", f"same as PyTorch on {self.model.parity} ({self.model.windows})"]
        if self.path.is_dir():
            lines.append(f"try it: python3 -m http.server --directory {self.path}, then open localhost:8000")
        return "\n".join(lines)


def export_web(
    run: str | Path | Recognizer | None,
    out: str | Path,
    *,
    single: bool = False,
    data: str | Path | None = None,
    num_windows: int = 16,
    title: str | None = None,
    runtime: str | Path | None = None,
    on_trace: Callable[[], None] = lambda: None,
) -> WebExport:
    """Export a run as a web page.

    Args:
        run: a run folder, a checkpoint file, or a loaded recognizer; None: the stream that ships with the
            package, which the page can be taught with.
        out: the folder to write, or with `single` the .html file.
        single: put everything into one file, which browsers open from the disk, too. It has no WebGPU.
        data: labeled videos, whose windows are compared; see `export_model`.
        num_windows: windows to compare, at least 1.
        title: heading of the page; None: "Hidden Two-Stream".
        runtime: see `web_runtime.runtime_files`.
        on_trace: see `export_model`.

    Raises:
        UsageError: an argument is wrong, or the folder holds something else.
        CheckpointError: as `export_model`.
        MissingDependencyError: a library is not installed.
        OutputError: the page cannot be written.
    """
    path = Path(out)
    _check_out(path, single)
    require_libraries()
    libraries = runtime_files(runtime)
    recognizer = shipped_recognizer() if run is None else run if isinstance(run, Recognizer) else load(run)
    with tempfile.TemporaryDirectory() as scratch:
        model = Path(scratch) / _MODEL
        exported = export_model(recognizer, model, data=data, num_windows=num_windows, on_trace=on_trace)
        described = _described(model, recognizer, title)
        network = {_MODEL: model.read_bytes(), **described}
    assets = network | libraries
    sources = page_sources()
    if single:
        page = _single(sources, {name: file for name, file in assets.items() if not _is_for_webgpu(name)})
        with atomic_write(path, make_parents=True) as part:
            part.write_bytes(page)
        return WebExport(path, len(page), len(page), replace(exported, path=path))
    everything = {name: text.encode() for name, text in sources.items()} | assets
    everything[_LIST] = _file_list(everything)
    _write_folder(path, everything)
    total = sum(map(len, everything.values()))
    later = sum(len(file) for name, file in everything.items() if _is_for_webgpu(name) or name == _BASE)
    return WebExport(path, total, total - later, replace(exported, path=path / _MODEL))


def page_sources() -> dict[str, str]:
    """Return the sources of the page by file name."""
    folder = files("hidden_two_stream.export") / "page"
    return {file.name: file.read_text(encoding="utf-8") for file in folder.iterdir() if file.is_file()}


def _check_out(path: Path, single: bool) -> None:
    """Check where the page is to be written, and say if an earlier one is in its place."""
    if single:
        if path.suffix.lower() not in (".html", ".htm"):
            raise UsageError(f"the file is {str(path)!r}; expected a name that ends with .html")
        if path.is_file():
            note(f"the new page will replace the file {str(path)!r}")
        return
    if path.exists() and not path.is_dir():
        raise UsageError(f"{str(path)!r} is a file; expected a new folder, or --single-file")
    if path.is_dir() and any(path.iterdir()) and not (path / _LIST).is_file():
        raise UsageError(f"{str(path)!r} holds something else than an exported page; name a new folder")
    if path.is_dir() and any(path.iterdir()):
        note(f"the new page will replace the one in {str(path)!r}")


def _described(model: Path, recognizer: Recognizer, title: str | None) -> dict[str, bytes]:
    """Return the description of the network as JSON, and its checkpoint for `hts import-web`."""
    info = load_onnx(model).info
    base, fingerprint = _base_checkpoint(recognizer, info)
    described = _description_of(model)
    described["export"] |= {"fingerprint": fingerprint, "title": title or ""}
    return {_DESCRIPTION: json.dumps(described, ensure_ascii=False).encode(), _BASE: base}


def _description_of(model: Path) -> dict[str, Any]:
    import onnx

    entries = onnx.load(model).metadata_props
    found: dict[str, Any] = json.loads(next(each.value for each in entries if each.key == DESCRIPTION_KEY))
    return found


def _base_checkpoint(recognizer: Recognizer, info: RunInfo) -> tuple[bytes, str]:
    """Return a checkpoint of the stream that the page teaches, and a name that tells networks apart.

    Args:
        recognizer: the recognizer.
        info: its description, without paths of this machine.
    """
    streams = recognizer.trained_streams
    kept: Literal["temporal", "spatial"] = "temporal" if "temporal" in streams else "spatial"
    recipe = replace(info.recipe, model=replace(info.recipe.model, streams=(kept,)))
    model = build_model(recipe, len(info.classes))
    own = recognizer.model.state_dict()
    weights = {name: own[name].detach().contiguous() for name in model.state_dict()}
    place_weights(model, weights, Path(_BASE))
    stages = tuple(stage for stage in info.metadata.stages if stage in ("motion", kept))
    small = replace(info, recipe=recipe, metadata=replace(info.metadata, stages=stages, calibration=None))
    found = save(weights, {DESCRIPTION_KEY: json.dumps(small.to_dict())})
    return found, hashlib.sha256(found).hexdigest()[:16]


def _single(sources: Mapping[str, str], assets: Mapping[str, bytes]) -> bytes:
    inside = dict(assets) | {"worker.js": sources["worker.js"].encode()}
    modules = {name: text for name, text in sources.items() if name.endswith(".js") and name != "worker.js"}
    return single_file(sources["index.html"], sources["style.css"], modules, inside).encode()


def _is_for_webgpu(name: str) -> bool:
    return any(part in name for part in _WEBGPU)


def _file_list(everything: Mapping[str, bytes]) -> bytes:
    """Return files.js: what the page keeps for use without a network, and a version of the content."""
    digest = hashlib.sha256()
    for name, content in sorted(everything.items()):
        digest.update(name.encode() + b"\0" + hashlib.sha256(content).digest())
    kept = [name for name in everything if not _is_for_webgpu(name) and name != "offline.js"]
    page = {"version": digest.hexdigest()[:16], "files": ["./", *sorted(kept)]}
    return f"self.PAGE = {json.dumps(page)};\n".encode()


def _write_folder(path: Path, everything: Mapping[str, bytes]) -> None:
    """Write a folder as a whole: an earlier page stays until the new one is complete."""
    make_folder(path.parent)
    try:
        with tempfile.TemporaryDirectory(prefix=f".{path.name}-", dir=path.parent) as scratch:
            new, old = Path(scratch) / "new", Path(scratch) / "old"
            for name, content in everything.items():
                (new / name).parent.mkdir(parents=True, exist_ok=True)
                (new / name).write_bytes(content)
            if path.exists():
                path.rename(old)
            try:
                new.rename(path)
            except OSError:
                if old.exists():
                    old.rename(path)
                raise
    except OSError as error:
        raise OutputError(f"cannot write {str(path)!r}: {error.strerror or error}") from error
