"""What the stages hand to each other: clips, masks, poses, prompts, the run manifest, errors.

Imports no stage, no torch, no onnxruntime: every stage's environment can carry it.
"""
