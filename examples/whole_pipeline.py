"""From a clip and two boxes to a verdict with the four classes: skeletons, masks, new clip, IoU of every frame.

    python -m examples.whole_pipeline CLIP --box 120,200,260,240 --skater 90,20,280,230

SAM 2.1, RTMW and Wan 2.1 VACE do the work, on a GPU; a ComfyUI server runs at --server. With --embedded it is the
embedded tracker, MediaPipe and the draft template, without weights and without a GPU; the skater then stays as in the
clip. docs/library.md says how to make the Python that runs this, and which clips a model can paint in one go. The
commands paint any clip, window by window, and judge more than the outline.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

from evaluator import calculate_iou
from evaluator.gate import Gate
from handoff.masks import read_masks, read_png
from handoff.places import Place, parse_box
from handoff.video import read_frames
from posegen import SkaterPoseExtractor
from reskin import ComfyOrchestrator, find_node_by_class, upload_asset
from reskin.painting import write_pictures
from reskin.workflow import find_node, load_workflow
from tracker import SkateboardTracker

parser = argparse.ArgumentParser()
parser.add_argument("clip", type=Path)
parser.add_argument("--box", type=parse_box, required=True, help="the object on frame 0: x1,y1,x2,y2 in px")
parser.add_argument("--skater", type=parse_box, help="the skater on frame 0; without it the skater is not painted")
parser.add_argument("--prompt", default="a samurai on a cyberpunk drone")
parser.add_argument("--template", default="wan_vace", help="one of the product's, of one pass")
parser.add_argument("--server", default="127.0.0.1:8188")
parser.add_argument("--device", default="cuda")
parser.add_argument("--checkpoint", default="data/models/sam2/sam2.1_hiera_large.pt")
parser.add_argument("--config", default="configs/sam2.1/sam2.1_hiera_l.yaml")
parser.add_argument("--embedded", action="store_true")
parser.add_argument("--out", type=Path, default=Path("out"))
args = parser.parse_args()
if args.embedded:
    extractor, tracker, args.template = SkaterPoseExtractor("embedded"), SkateboardTracker("embedded"), "draft"
else:
    extractor = SkaterPoseExtractor(device=args.device, backend="onnxruntime")
    tracker = SkateboardTracker(args.checkpoint, args.config, device=args.device)


def show(clip):
    """Tell the tracker which clip, and where object and skater are on its first frame."""
    tracker.init_video(clip)
    tracker.add_initial_prompt(frame_idx=0, bbox=args.box)
    if args.skater:
        tracker.request = replace(tracker.request, skater=(Place(0, args.skater),))


def save(name, pictures):
    write_pictures(args.out / name, pictures, info.fps, info.width, info.height)
    return args.out / name


# 1 and 2: skeletons and masks, as pictures and as videos
extractor.process_video(args.clip, args.out / "pose_skater", args.out / "pose_json")
show(args.clip)
mask, _ = tracker.propagate_and_save(args.out / "mask_skateboard")
info, human = tracker.video_info, args.out / "human_mask.mp4"
if not tracker.makes_human_mask:
    save(human.name, np.zeros((info.count, info.height, info.width), np.uint8))
pose = save("pose.mp4", map(read_png, sorted((args.out / "pose_skater").iterdir())))

# 3: the template gets the masks, the skeletons and the clip's size; what it paints is used inside the masks alone
files = {"object mask": mask, "skater mask": human, "pose": pose, "texture": args.clip}
graph = load_workflow(args.template).graph
for loader in (graph[each] for each in find_node_by_class(graph, "LoadVideo", "all")):
    if loader["_meta"]["title"] in files:
        loader["inputs"]["file"] = upload_asset(args.server, files[loader["_meta"]["title"]])
for node in graph.values():
    frames = "batch_size" if node["class_type"] == "EmptyImage" else "length"
    size = {"width": info.width, "height": info.height, frames: info.count}
    node["inputs"] |= {name: value for name, value in size.items() if name in node["inputs"]}
if args.template == "draft":  # it has a colour, and no model that a prompt could tell
    args.prompt = None
    graph[find_node(graph, "object colour")]["inputs"]["color"] = 0x2090FF
with ComfyOrchestrator(server_addr=args.server) as comfy:
    (painted,) = comfy.execute_v2v(graph, args.clip, None, args.prompt, None, None, output_dir=args.out)
pictures = map(read_png, sorted(painted.iterdir()))
layers = zip(read_frames(args.clip), pictures, read_masks(mask), read_masks(human), strict=True)
output = save("output.mp4", (np.where((a | b)[..., None], new, old) for old, new, a, b in layers))

# 4: the new object, found by the same tracker from the same boxes, against the old one
gate = Gate()
show(output)
for original, (index, generated) in zip(read_masks(mask), tracker.propagate_yield(), strict=True):
    print(f"Frame {index:04d}: IoU = {calculate_iou(original, generated):.4f}")
    gate.feed_frame(original, generated)
verdict = gate.conclude()
print(verdict.benchmark)
raise SystemExit(0 if verdict.passed else 1)
