"""The demo clip: real footage of a walking woman with a rendered skateboard whose every pixel is known.

The footage is the demo video inside the `sports2d` 0.8.34 wheel (BSD-3-Clause), which is fetched by pinned hash
(`source.lock`) and never committed. `python -m tests.democlip --wheel WHEEL.whl --out DIR` writes clip and truth.

Read in this order: `clip.py` (the whole recipe), `motion.py` (the choreography), `board.py` and `paint.py` (the
model), `camera.py`, `render.py` (motion blur), `person.py` (what hides the board), `composite.py` (what truth is).
"""
