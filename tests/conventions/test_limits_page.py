"""`docs/limits.md` names every limit of the code with its number."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hidden_two_stream import environment, errors, files, npz, tensor_files, watchdog
from hidden_two_stream.apps import api, jobs, names, projects
from hidden_two_stream.apps.service import allowed, fetching, keys, pipeline, receiving, serving
from hidden_two_stream.apps.service import settings as service_settings
from hidden_two_stream.apps.settings import AppSettings
from hidden_two_stream.cli import options
from hidden_two_stream.config import plain, validation
from hidden_two_stream.data import check, packing
from hidden_two_stream.data.annotations import format as label_format
from hidden_two_stream.data.annotations import label_file
from hidden_two_stream.data.benchmarks import tsn
from hidden_two_stream.evaluation import label_lists
from hidden_two_stream.export import onnx_file
from hidden_two_stream.inference import explain, scoring, segment_settings
from hidden_two_stream.motion import tracking
from hidden_two_stream.recognition import image_encoder, prototypes
from hidden_two_stream.training import watch
from hidden_two_stream.training.resources import Resources
from hidden_two_stream.video import limits, times
from hidden_two_stream.video.shards import index as shard_index
from hidden_two_stream.video.shards import opening
from hidden_two_stream.video.sources import ffmpeg, images, pipe
from hidden_two_stream.weights import hub, hub_names

PAGE = Path(__file__).resolve().parents[2] / "docs" / "limits.md"
MIB = 1 << 20
SERVICE = service_settings.ServeSettings()


def row_of(name: str) -> str:
    """The line of the page that begins with `name`, as a table row or a sentence."""
    lines = [line.removeprefix("| ") for line in PAGE.read_text(encoding="utf-8").splitlines()]
    (found,) = [line for line in lines if line.startswith(name)]
    return found


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("decoded frame", f"{limits.MAX_FRAME_PIXELS // 10**6} million pixels"),
        ("resized frame |", f"{limits.MAX_RESIZED_PIXELS // 10**6} million pixels"),
        ("resized frame that", f"{limits.MAX_ENLARGED_PIXELS / 10**6:g} million pixels"),
        ("all frames of a GIF", f" {limits.MAX_ANIMATION_PIXELS // 10**9} billion pixels"),
        ("image file", f"{images._MOST_BYTES / 10**9:.2f} GB"),
        ("frames of one video kept", f"{scoring.KEPT_BYTES // MIB} MiB"),
        ("frames of all videos kept by `train`", f"{Resources().cache_mb} MiB"),
        ("class numbers of a TSN list", f" {tsn.MOST_CLASSES:,} |"),
        ("box to follow", f"{tracking.SMALLEST_BOX_PX} px a side"),
        ("worker processes", f" {environment.MOST_WORKERS} |"),
        ("threads of a command", f" {options._MOST_THREADS} |"),
        ("frames of all videos kept by `hts check`", f" {check._KEPT_BYTES >> 20} MiB"),
        ("windows of an explained video", f" {explain.MOST_WINDOWS} |"),
        ("stretches of an explained video", f" {explain.MOST_STRETCHES} |"),
        ("several training processes", f"{watch.FROZEN_SECONDS} s"),
        ("wait for a URL", f"{ffmpeg.URL_TIMEOUT_SECONDS:g} s"),
        ("wait for the first bytes", f"{pipe._WAIT_SECONDS:g} s"),
        ("`input.fps`", f"{validation.MIN_FPS:g} to {validation.MAX_FPS:g} frames"),
        ("difference between a video's rate", f"a factor of {times.FAR_RATE:g}"),
        ("moving average over scores", f"{segment_settings.LONGEST_SMOOTHING_SECONDS:g} s"),
        ("classes with prototypes", f" {prototypes.MOST_CLASSES} |"),
        ("`model.num_frames` ×", f"{validation.MAX_CLIP_PIXELS:,}"),
        ("any other number", f"{validation.LARGEST_FLOAT:g}"),
        ("A recipe file may have", f"{plain.MAX_BYTES:,} bytes, {plain.MAX_DEPTH} levels"),
        ("A recipe file may have", f"{plain.MAX_VALUES:,} values"),
        ("A recipe file may have", f"{plain.MAX_TEXT:,} characters, a list {plain.MAX_ITEMS:,} items"),
        ("input of an image encoder", f" {image_encoder.MAX_SIDE:,} px"),
        ("parameters of an image encoder", f"{image_encoder.MAX_PARAMETERS // 10**6:,} million"),
        ("numbers in the configuration", f" {image_encoder.MAX_NUMBER:,} "),
        ("layers in the configuration", f" {image_encoder.MAX_LAYERS} "),
        ("header of a safetensors", f"{tensor_files.MAX_HEADER_BYTES // MIB} MiB"),
        ("ONNX file", f"{onnx_file.MOST_BYTES / 10**9:.1f} GB"),
        ("whole number in a JSON file", f" {files._MOST_DIGITS} digits"),
        ("message of an error", f" {errors._LONGEST_MESSAGE:,} characters"),
        ("decoding one frame in a worker", f" {watchdog.STUCK_SECONDS:g} s"),
        ("weights that are downloaded", f"{hub.MAX_WEIGHTS_BYTES >> 30} GiB"),
        ("name of a model on the hub", f"{hub_names._LONGEST_PART} characters"),
        ("name of a model on the hub", f" {hub_names._LONGEST_REVISION} a revision"),
        ("index of shards", f"{shard_index.MAX_INDEX_BYTES // MIB} MiB"),
        ("size of a shard", f"at least {packing._LEAST_SHARD_BYTES:,} bytes"),
        ("packed video that is read at once", f"{opening.WHOLE_BYTES // MIB} MiB"),
        ("JSON file of a run", f"{files.MAX_JSON_BYTES // MIB} MiB"),
        ("arrays of a score file", f"{npz.LARGEST_BYTES // MIB} MiB"),
        ("arrays in a score file", f"{npz._MOST_ARRAYS:,}"),
        ("class number in a list", f"{label_lists._MOST_DIGITS} digits"),
        ("label file |", f" {label_file.MAX_BYTES // MIB} MiB"),
        ("levels of elements in an XML", f" {label_file.MAX_DEPTH} |"),
        ("rows of a label file", f" {label_format._MOST_FRAMES:,} |"),
        ("name of a fold's folder", f"{files._LONGEST_NAME} bytes"),
        ("uploaded file", f"{AppSettings().max_upload_mb:g} MB"),
        ("uploaded video |", f"{AppSettings().max_minutes:g} min"),
        ("uploaded videos together", f"{AppSettings().max_stored_mb:g} MB"),
        ("jobs that wait", f" {AppSettings().queue_length} "),
        ("jobs that are remembered", f" {jobs.MOST_KEPT} "),
        ("request of the page", f"{api.MOST_JSON_BYTES:,} bytes"),
        ("clips of a project", f" {projects.MOST_CLIPS} "),
        ("marked parts of a clip", f" {projects.MOST_INTERVALS} "),
        ("video of a request", f"{SERVICE.max_upload_mb:g} MB"),
        ("videos on disk together", f"{SERVICE.max_stored_mb:g} MB"),
        ("predictions in progress", f" {SERVICE.max_requests} "),
        ("upload or download", f"{SERVICE.upload_seconds:g} s"),
        ("decoding a video of a request", f"{SERVICE.decode_seconds:g} s"),
        ("time to the answer", f"{SERVICE.timeout_seconds:g} s"),
        ("time to end", f"{SERVICE.drain_seconds:g} s"),
        ("clips of a batch", f" {SERVICE.max_batch} "),
        ("wait for others", f" {SERVICE.max_wait_ms:g} ms, at most {service_settings.LONGEST_WAIT_MS} ms"),
        ("JSON that names a URL", f"{receiving.MOST_JSON_BYTES:,} bytes"),
        ("URL of a request", f" {allowed.LONGEST_URL} characters"),
        ("redirects of a URL", f" {fetching.MOST_REDIRECTS} "),
        ("classes that `?top=`", f" {pipeline.MOST_TOP:,} "),
        ("shortest API key", f" {keys.SHORTEST_KEY} characters"),
        ("connections", f" {serving.MOST_CONNECTIONS} "),
        ("name of a class", f"{names.LONGEST_NAME} characters"),
    ],
)
def test_a_limit_is_on_the_page(name: str, value: str) -> None:
    assert value in row_of(name)


def test_the_limits_of_recipe_fields_are_on_the_page() -> None:
    found = {}
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 3 and re.fullmatch(r"(`[\w.]+`(, )?)+", cells[0]):
            numbers = [cell.replace(",", "") for cell in cells[1:]]
            if all(map(str.isdigit, numbers)):
                bounds = tuple(map(int, numbers))
                found |= dict.fromkeys(re.findall(r"`([\w.]+)`", cells[0]), bounds)
    expected = {name: (least or 0, most) for name, (least, most) in validation.LIMITS.items()}
    assert found == expected
