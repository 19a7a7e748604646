"""Who the skater is and where the object is, by a COCO detector.

Read in this order: `yolox` (frames in, detections out), `record` (detections.json), `stage` (the pass over the clip),
then what is made of the detections: `follow` (people over time), `skater` (which of them), `thing` (the object's box).
"""
