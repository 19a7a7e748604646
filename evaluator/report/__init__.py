"""The six report files of an evaluation: what is in them (result), as text, and as pictures (chart, pictures).

Nothing is imported here: the command's options name the formats.
"""

JSON, CSV, JUNIT, SUMMARY, CHART, OVERLAY = "json", "csv", "junit", "summary", "chart", "overlay"

FILES = {
    JSON: "iou.json",
    CSV: "iou.csv",
    JUNIT: "junit.xml",
    SUMMARY: "summary.md",
    CHART: "iou.png",
    OVERLAY: "overlay.mp4",
}
"""The formats and their files."""
