"""What a detector saw in a clip: detections.json, and the classes that it names.

Read `samples` (the file), then `coco` (the classes), which needs nothing but itself.
"""
