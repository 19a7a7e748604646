"""Who the skater is and where the object is, by a COCO detector.

Read in this order: `yolox` (frames in, detections out), `sampling` (the pass over the clip, which writes
detections.json, see handoff/detections), then what is made of them: `tracklets` (people over time, told apart by
`appearance`), `skater` (which of them), `object` (its box).
"""
