"""The demo clip: real footage of a walking woman with a rendered skateboard whose every pixel is known.

The footage is the demo video inside the `sports2d` 0.8.34 wheel (BSD-3-Clause), which is fetched by pinned hash
(`source.lock`) and never committed. `python -m demo --wheel WHEEL.whl --out DIR` writes clip and truth.

Read in this order: `clip.py` (the whole recipe, and what truth is), `choreography.py`, `board.py` (the
model and its paint), `camera.py`, `render.py` (motion blur), `person.py` (what hides the board), `source.py` (the
footage). `score.py` holds a tracker's mask against the truth.
"""
