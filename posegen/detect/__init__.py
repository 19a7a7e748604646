"""Who the skater is and where the object is, by a COCO detector.

Read in this order: `yolox` (frames in, detections out; `coco` names their classes), `detections` (the pass over the
clip and its file, detections.json), then what is made of them: `tracklets` (people over time, told apart by
`appearance`), `skater` (which of them), `object` (its box).
"""
