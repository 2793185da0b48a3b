"""The start: what a first prediction imports, and that what it leaves out changes nothing."""

from __future__ import annotations

import gc
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from hidden_two_stream.checkpoint import RunInfo, build_model, save_run
from hidden_two_stream.config.loading import load_recipe
from hidden_two_stream.config.schema import InputConfig, ModelConfig, Recipe
from hidden_two_stream.environment import collector_paused
from hidden_two_stream.inference.predictor import load
from hidden_two_stream.tensors import shapes_only
from hidden_two_stream.video.writer import write_video

NOT_NEEDED = (
    "attrs", "concurrent.futures.process", "cv2", "jsonargparse", "lightning", "matplotlib", "onnx",
    "onnxruntime", "pandas", "rich", "scipy", "sympy", "tensorboard", "torch._dynamo", "torch._inductor",
    "torch.distributed.fsdp", "torch.onnx", "torchmetrics", "torchvision", "transformers",
)  # fmt: skip

SEQUENCE = ModelConfig("nano", "small", 4, temporal="sequence")


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """8 frames of 64 x 48 px."""
    frames = np.random.default_rng(0).integers(0, 256, (8, 48, 64, 3), np.uint8)
    write_video(tmp_path / "clip.mp4", frames)
    return tmp_path / "clip.mp4"


def saved(root: Path, model: ModelConfig) -> Path:
    recipe = Recipe(model=model, input=InputConfig(size=32, resize=32))
    root.mkdir()
    save_run(root, build_model(recipe, 2), RunInfo(recipe, ("a", "b")))
    return root


@pytest.mark.parametrize("command", ["library", "hts predict"])
def test_a_prediction_imports_only_what_it_needs(tmp_path: Path, clip: Path, command: str) -> None:
    run = saved(tmp_path / "run", SEQUENCE)
    work = {
        "library": f"import hidden_two_stream as hts; hts.load({str(run)!r}).predict({str(clip)!r})",
        "hts predict": "from hidden_two_stream.cli.main import main; "
        f"assert main(['predict', {str(run)!r}, {str(clip)!r}]) == 0",
    }[command]
    code = f"import sys; {work}; print('loaded:', *(n for n in {NOT_NEEDED} if n in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "loaded:"


def test_a_listed_module_would_be_found(tmp_path: Path) -> None:
    """Building on the meta device without `shapes_only` imports torch's compiler."""
    code = (
        "import sys, torch\nfrom hidden_two_stream.motion.networks.build import build_motion\n"
        "with torch.device('meta'): build_motion('nano', 2)\nprint('torch._dynamo' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "True", done.stderr


@pytest.mark.parametrize("name", ["nano", "nano-branched", "tiny", "paper", "demo"])
def test_shapes_only_builds_the_same_model(name: str) -> None:
    recipe = load_recipe(name)
    with shapes_only():
        shapes = build_model(recipe, 3).state_dict()
    with torch.device("meta"):
        expected = build_model(recipe, 3).state_dict()
    assert {key: (t.shape, t.dtype, t.device) for key, t in shapes.items()} == {
        key: (t.shape, t.dtype, t.device) for key, t in expected.items()
    }


def test_weights_are_drawn_again_after_the_block() -> None:
    with shapes_only():
        torch.nn.Linear(2, 2)
    torch.manual_seed(0)
    first = torch.nn.init.normal_(torch.zeros(4))
    torch.manual_seed(0)
    assert torch.equal(first, torch.zeros(4).normal_())
    assert first.abs().min() > 0


@pytest.mark.parametrize("temporal", ["stacked", "branched", "sequence"])
def test_a_loaded_model_has_the_saved_weights(tmp_path: Path, temporal: str) -> None:
    model = ModelConfig("nano", "small", 4, temporal=temporal)  # type: ignore[arg-type]
    run = saved(tmp_path / "run", model)
    loaded = load(run).model
    torch.manual_seed(1)
    again = build_model(load(run).info.recipe, 2)
    again.load_state_dict(loaded.state_dict())
    assert all(t.device.type == "cpu" for t in (*loaded.parameters(), *loaded.buffers()))
    frames = torch.randn(1, 4, 3, 32, 32)
    with torch.inference_mode():
        assert torch.equal(again.eval().temporal(frames), loaded.temporal(frames))


@pytest.mark.parametrize("before", [True, False])
def test_the_collector_is_as_before(before: bool) -> None:
    try:
        (gc.enable if before else gc.disable)()
        with collector_paused():
            assert not gc.isenabled()
        assert gc.isenabled() is before
    finally:
        gc.enable()
