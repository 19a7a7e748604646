"""A box without guessing: one frame with a pixel grid to read it from, or a window to draw it in with the mouse.

    python -m tracker.grid -i clip.mp4 --frame 40 -o frame.png        make frame VIDEO=clip.mp4 FRAME=40

Read `cli` (`make frame`), `drawing` (the grid) and `mouse` (`--select`).
"""
