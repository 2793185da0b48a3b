"""Programs of torch.export: the run's scores at any batch, and nothing of this machine inside."""

from __future__ import annotations

import json
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from hidden_two_stream.checkpoint import DESCRIPTION_KEY, save_run
from hidden_two_stream.inference.predictor import Recognizer

from .runs import CLASSES, make_clips, make_run

Hts = Callable[..., tuple[int, str, str]]


def test_the_command_writes_a_program_that_stands_alone(tmp_path: Path, hts: Hts) -> None:
    made = make_run("tiny", "branched")
    save_run(tmp_path, *made)
    code, output, errors = hts("export", tmp_path, "--format", "pt2", "--windows", 2, "--json")
    assert code == 0, errors
    found = json.loads(output)
    assert (found["path"], found["format"]) == (str(tmp_path / "model.pt2"), "pt2")
    assert found["parity"]["num_windows"] == 2
    assert found["parity"]["score"] <= 1e-5

    extra = {f"{DESCRIPTION_KEY}.json": ""}
    program = torch.export.load(found["path"], extra_files=extra).module()
    assert json.loads(extra[f"{DESCRIPTION_KEY}.json"])["classes"] == list(CLASSES)
    model, recognizer = made[0], Recognizer(*made)
    for batch in (1, 2, 5):
        clips = torch.from_numpy(make_clips(batch))
        with torch.inference_mode():
            results = dict(zip(found["outputs"], program(clips), strict=True))
            frames = model.preprocess(clips.permute(0, 1, 4, 2, 3))
            logits = {"spatial": model.spatial(frames) / 1.7, "temporal": model.temporal(frames) / 0.6}
            torch.testing.assert_close(results["flow"], model.motion(frames)[0])
        scores = recognizer.fuse({name: values.numpy() for name, values in logits.items()})
        np.testing.assert_allclose(results["scores"], scores, rtol=0, atol=1e-5)


def test_nothing_of_this_machine_is_in_a_program(tmp_path: Path, hts: Hts) -> None:
    save_run(tmp_path, *make_run("tiny", "stacked", ("temporal",)))
    assert hts("export", tmp_path, "--format", "pt2", "--windows", 1)[0] == 0
    here = [str(place) for place in (tmp_path, Path.home(), Path.cwd(), sys.prefix)]
    places = (*here, "/home/someone", "runs/secret", "site-packages", "hidden_two_stream/")
    with zipfile.ZipFile(tmp_path / "model.pt2") as archive:
        for name in archive.namelist():
            content = archive.read(name)
            assert [place for place in places if place.encode() in content] == [], name
