"""SAM 2.1 through upstream's own predictor, in constant memory.

Read in this order: `sizes` (which weights and configurations there are), `backend` (what the tracker calls),
`predictor` (weights verified and loaded), `session` (prompts in, logits out), then what keeps it small: `frames`
(pictures in) and `memory` (what the model can still look at, and the part before the prompt on disk).
"""
