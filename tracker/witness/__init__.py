"""Was the mask right? Witnesses that are not the tracker: the detector, the person's own mask, tracking back.

Read in this order: `ruling` (what each figure says of a frame, and what is said of the clip), `detector` (which of the
detections are the object, whatever the mask says), `body` (the share of the mask that lies on the person), `doubt`
(the picture of the worst frames). The rules in words are in docs/how-it-works/witnesses.md.
"""
