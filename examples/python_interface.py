"""Train, evaluate and use a recognizer from Python: a notebook as a script, one cell per `# %%`.

    .venv/bin/python examples/python_interface.py labels.csv

The CSV has the columns path,label and, if you like, split and others. In an editor that knows cells, run them
one by one, and write your file's path into the first. Few steps keep the whole script to about a minute; they
show the interface and are too few for a good recognizer.
"""

# %% The data, and where the run goes
import csv
import sys
from pathlib import Path

import hidden_two_stream as hts

DATA = Path(next((word for word in sys.argv[1:] if word.endswith(".csv")), "labels.csv"))
RUN = Path("runs/python")
STEPS = 40  # per stream; leave it out of `overrides` to train as long as the recipe says

# %% The recipe, and what to change in it: MotionNet keeps the weights that come with the package
overrides = {"motion.steps": 0, "spatial.steps": STEPS, "temporal.steps": STEPS, "joint.steps": 0}

# %% Train; the test is the data's own split, or else a quarter of each class
result = hts.train(DATA, out=RUN, recipe="nano", overrides=overrides)
stages = ", ".join(f"{stage} {seconds:.0f} s" for stage, seconds in result.seconds.items())
print(f"trained into {result.folder}: {stages}")
for stream, accuracy in result.evaluation.accuracy.items():
    print(f"  {stream:<9} {accuracy:6.1%}")

# %% Evaluate the run again, at any time, here with one clip per video
evaluation = hts.evaluate(RUN, DATA, split="test", protocol="center")
print(f"one clip per video: {evaluation.accuracy['fused']:.1%}")

# %% Load the run and label a video
with DATA.open(newline="", encoding="utf-8") as file:
    video = DATA.parent / next(csv.DictReader(file))["path"]
recognizer = hts.load(RUN)
prediction = recognizer.predict(video)
print(prediction)
for stream, scores in prediction.streams.items():
    print(f"  {stream} alone: {prediction.classes[int(scores.argmax())]} {scores.max():.2f}")

# %% Scores along the video
for window in recognizer.windows(video, hop_seconds=0.5):
    print(f"  {window.start_seconds:5.2f} to {window.end_seconds:5.2f} s: {window.label}")

# %% The hidden flow: (T-1, 2, h, w) px of its own grid, u to the right and v down
flow = recognizer.flow(video)
print(f"flow {flow.shape}, fastest {(flow**2).sum(axis=1).max() ** 0.5:.1f} px per frame")
