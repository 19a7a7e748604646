"""The 80 classes of COCO detection, in the order in which every COCO model numbers them."""

from __future__ import annotations

import difflib

from handoff.errors import UsageError

CLASSES: tuple[str, ...] = tuple(
    """person|bicycle|car|motorcycle|airplane|bus|train|truck|boat|traffic light|fire hydrant|stop sign|parking meter
|bench|bird|cat|dog|horse|sheep|cow|elephant|bear|zebra|giraffe|backpack|umbrella|handbag|tie|suitcase|frisbee|skis
|snowboard|sports ball|kite|baseball bat|baseball glove|skateboard|surfboard|tennis racket|bottle|wine glass|cup|fork
|knife|spoon|bowl|banana|apple|sandwich|orange|broccoli|carrot|hot dog|pizza|donut|cake|chair|couch|potted plant|bed
|dining table|toilet|tv|laptop|mouse|remote|keyboard|cell phone|microwave|oven|toaster|sink|refrigerator|book|clock
|vase|scissors|teddy bear|hair drier|toothbrush""".replace("\n", "").split("|")
)
"""Source: the COCO 2017 annotations, category ids 1 to 90 without the ten that have no instances."""

PERSON = CLASSES.index("person")


def class_number(name: str) -> int:
    """Return the number of a class, whatever its case, with "-" or "_" for blanks.

    Raises UsageError, with near ones and all, when there is none of that name.
    """
    wanted = " ".join(name.lower().replace("_", " ").replace("-", " ").split())
    if wanted in CLASSES:
        return CLASSES.index(wanted)
    near = difflib.get_close_matches(wanted, CLASSES, n=3, cutoff=0.5)
    near += [each for each in CLASSES if wanted and wanted in each and each not in near]
    meant = f" perhaps you meant {' or '.join(repr(each) for each in near)}?" if near else ""
    raise UsageError(
        f"the detector knows no object '{name}';{meant} It knows: {', '.join(CLASSES)}. "
        "For anything else give the box by hand: --bbox x1,y1,x2,y2 --frame n."
    )
