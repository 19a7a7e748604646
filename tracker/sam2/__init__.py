"""SAM 2.1 through upstream's own predictor, in constant memory.

Read in this order: `predictor` (which weights, verified), `session` (prompts in, logits out), then what keeps it small:
`lazy_frames` (pictures in), `memory` (what the model can still look at), `spool` (the part before the prompt).
"""
