"""What a detector saw in a clip: detections.json, and the classes that it names.

Read `samples` (the file), then `coco` (the classes).
"""

from __future__ import annotations

from handoff.detections.coco import CLASSES as CLASSES
from handoff.detections.coco import PERSON as PERSON
from handoff.detections.coco import class_number as class_number
from handoff.detections.samples import DETECTIONS as DETECTIONS
from handoff.detections.samples import Detection as Detection
from handoff.detections.samples import DetectionWriter as DetectionWriter
from handoff.detections.samples import Header as Header
from handoff.detections.samples import Sample as Sample
from handoff.detections.samples import read_detections_header as read_detections_header
from handoff.detections.samples import read_samples as read_samples
