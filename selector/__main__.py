"""Show the picture file on stdin, print the box that is drawn on it ("x1,y1,x2,y2"), or nothing when it is given up.

    python -m selector <frame.png

The tracker starts it (tracker/grid.py), with the Python that `extract_physics.py --select` names to it.
"""

from __future__ import annotations

import os
import sys

import cv2
import numpy as np

from selector.window import draw_box

if __name__ == "__main__":
    if sys.platform == "linux":
        os.environ["QT_QPA_PLATFORM"] = "xcb"  # the wheel has no other; on a Wayland desktop it draws through XWayland
    file = sys.stdin.buffer.read()
    if not file.startswith(b"\x89PNG\r\n\x1a\n"):  # OpenCV would try all its decoders
        sys.exit("Error: what is on stdin is no PNG.")
    picture = cv2.imdecode(np.frombuffer(file, np.uint8), cv2.IMREAD_COLOR)
    box = draw_box(np.asarray(picture, np.uint8))
    if box:
        print(*box, sep=",")
