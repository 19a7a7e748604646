"""RTMW, the production backend of the pose stage: a person's box in, 133 keypoints out.

Read in this order: `backend` (what the stage calls), `crops` (a box of a frame as the network's input), `network` (the
ONNX file), `simcc` (its outputs as keypoints), `models` and `archive` (which file that is, and where it comes from).
"""
