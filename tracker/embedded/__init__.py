"""The embedded tracker: classical cues with OpenCV, no weights. For the demo, the tests and CI."""
