"""The file that says a whole sweep: clips, prompts, seeds, how to paint and judge. It is checked in full first.

`read` is the front door. schema.json says what keys there are and what each may be. Here is what a schema cannot say:
that a clip is there, that two clips have two runs, that a box has an inside. Whatever is wrong is told with its line.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import json
import os
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from jsonschema import Draft202012Validator, validators

from sweep.request.document import Document, Fault, Place, read_document, refusal, shortened
from sweep.request.options import PROGRAMS, ROOT, Options, Said, file_from, nearest, offered, read_options, together

SCHEMA = Path(__file__).with_name("schema.json")
WORKFLOWS = ROOT / "reskin" / "workflows"
"""The workflows that come with the product, NAME.json each."""
MOST_SEEDS, MOST_CELLS = 100_000, 1_000_000
LONGEST_NAME = 100
"""Letters of a run's name, and of a sweep's."""
LARGEST_SEED = 2**64 - 1
"""As in reskin/settings.py."""
OBJECT = ("bbox", "frame", "correct", "object")
"""Keys of a clip that say where its object is."""
DEMO_PROMPT_FRAME = 4
"""The frame of the demo clip on which its box is known; every part of the clip has to have it."""
LONGEST_NOUN = 200
"""Letters of one noun of a prompt, as in reskin/nouns.py."""
_JOINERS = "\u200c\u200d"
"""Control characters that Persian, Hindi and emoji are written with."""

Corners = tuple[int, int, int, int]
"""x1, y1, x2, y2 in px, with x1 < x2 and y1 < y2."""


@dataclass(frozen=True)
class SweepClip:
    """One clip. It has either `path`, absolute, or `demo`: "all" of the demo clip, or its frames first to last.

    run: the run's name. bbox, frame: the object's box and its frame, None where they are not given (the demo's are
    known, any other object is looked for). correct: (frame, box) of other frames. extract: options of
    extract_physics.py, those of the whole sweep with this clip's own over them.
    """

    path: Path | None
    demo: tuple[int, int] | Literal["all"] | None
    run: str
    bbox: Corners | None
    frame: int | None
    correct: tuple[tuple[int, Corners], ...]
    cuts: Literal["auto", "none"] | tuple[int, ...] | None
    object: str | None
    extract: Options


@dataclass(frozen=True)
class Sweep:
    """What a sweep's file says. path: that file, absolute; folder: where it lies. gpus: None where it is not given.

    settings, gate: options of generate_reskin.py. workflow: a name, or a file's absolute path; None where the models
    that are there decide. extract: the options of extract_physics.py that all clips have (each clip's has them too).
    """

    path: Path
    folder: Path
    name: str
    clips: tuple[SweepClip, ...]
    prompts: tuple[str, ...]
    seeds: tuple[int, ...]
    until_pass: int
    workflow: str | None
    settings: Options
    extract: Options
    gate: Options
    batch: int
    gpus: int | None


def read(path: Path) -> Sweep:
    """Read and check a sweep's file; no clip is opened. Raises SweepError (2) with FILE:LINE of each fault."""
    document = read_document(path)
    faults = [*_against_schema(document)]
    if faults:
        raise refusal(document.name, faults)
    said = document.value
    shared = _options(document, (), "extract", faults)
    settings, gate = (_options(document, (), group, faults) for group in ("settings", "gate"))
    clips = tuple(_clip(document, ("clips", number), shared, faults) for number in range(len(said["clips"])))
    _check_runs(document, clips, faults)
    prompts, seeds = _prompts(document, faults), _seeds(document, faults)
    cells = len(clips) * len(prompts) * len(seeds)
    if cells > MOST_CELLS:
        told = f"{len(clips)} clips x {len(prompts)} prompts x {len(seeds)} seeds are {cells} reskins"
        faults.append((document.lines["clips",], f"{told}, {MOST_CELLS} are the most; make several sweeps of it."))
    workflow = _workflow(document, faults)
    name = said.get("name") or name_for(path)
    if len(name) > LONGEST_NAME:
        told = f"the sweep would be named as its file, with {len(name)} letters, {LONGEST_NAME} are the most"
        faults.append((1, f"{told}; write name: and a shorter one."))
    if faults:
        raise refusal(document.name, faults)
    return Sweep(
        path=document.folder / path.name,
        folder=document.folder,
        name=name,
        clips=clips,
        prompts=prompts,
        seeds=seeds,
        until_pass=said.get("until_pass", 1),
        workflow=workflow,
        settings=together(settings),
        extract=together(shared),
        gate=together(gate),
        batch=said.get("batch", 8),
        gpus=said.get("gpus"),
    )


def name_for(file: Path) -> str:
    """Return the name that a file gives a run, or a sweep: without the suffix, made safe, as runner/runs.py does it."""
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", file.stem).strip("-") or "clip"
    return name if file.stem.isascii() else f"{name}-{hashlib.sha256(os.fsencode(file.stem)).hexdigest()[:8]}"


def _against_schema(document: Document) -> Iterator[Fault]:
    """Yield what schema.json forbids, and what it wants in its place."""
    for error in _validator().iter_errors(document.value):
        place: Place = tuple(error.absolute_path)
        line = document.lines[place]
        if error.validator == "additionalProperties":
            for key in [each for each in error.instance if each not in error.schema["properties"]]:
                yield document.lines[*place, key], _unknown(key, error.schema["properties"])
        elif error.validator == "required":
            for key in [each for each in error.schema["required"] if each not in error.instance]:
                yield line, f"{_called(place)} has no {key}; write {key}: too."
        else:
            yield line, f"{_called(place)} is {document.shown(place)}; write {_wanted(document, place, error)}."


@functools.cache
def _validator() -> Any:
    """Return what checks values against schema.json, for which 1.0 and true are no whole numbers."""
    whole = Draft202012Validator.TYPE_CHECKER.redefine(
        "integer", lambda _, value: isinstance(value, int) and not isinstance(value, bool)
    )
    extended: Any = validators.extend(Draft202012Validator, type_checker=whole)  # type: ignore[no-untyped-call]
    return extended(json.loads(SCHEMA.read_text("utf-8")))


def _called(place: Place) -> str:
    if not place:
        return "the file"
    key = next(each for each in reversed(place) if isinstance(each, str))
    return f"an entry of {key}" if isinstance(place[-1], int) else key


def _wanted(document: Document, place: Place, error: Any) -> str:
    wanted = str(error.schema["description"])
    if error.validator == "type" and error.validator_value == "string" and place in document.written:
        return f'{wanted}, in quotes: "{document.written[place]}"' if error.instance is not None else wanted
    return wanted


def _unknown(key: str, known: Mapping[str, Any]) -> str:
    """Return what to say of a key that there is not."""
    for group, program in PROGRAMS.items():
        if group in known and key.replace("_", "-") in offered(group):
            return f"{shortened(key)} is an option of {program}; write it under {group}:."
    schema = _validator().schema
    for elsewhere, keys in (("at the clip", schema["$defs"]["clip"]), ("beside clips:, for all of them", schema)):
        if key in keys["properties"]:
            return f"there is no key {key} here; write it {elsewhere}."
    if near := nearest(key, known):
        return f"there is no key {shortened(key)} here; did you mean {near}?"
    return f"there is no key {shortened(key)} here; what there is: {', '.join(known)}."


def _options(document: Document, place: Place, group: str, faults: list[Fault]) -> Said:
    """Return what a group of options says; it need not be there."""
    return read_options(document, (*place, group), group, faults) if group in document.at(place) else {}


def _clip(document: Document, place: Place, shared: Said, faults: list[Fault]) -> SweepClip:
    said: dict[str, Any] = document.at(place)

    def note(text: str, *below: str) -> None:
        faults.append((document.lines[*place, *below], text))

    extract = together(shared, _options(document, place, "extract", faults))
    path, demo, usual = None, None, ""
    if "demo" in said:
        demo = said["demo"] if said["demo"] == "all" else tuple(said["demo"])
        usual = "demo" if demo == "all" else f"demo-{demo[0]}-{demo[1]}"
        if demo != "all" and not demo[0] <= DEMO_PROMPT_FRAME <= demo[1]:
            told = f"demo is frames {demo[0]} to {demo[1]}, and its box is known on frame {DEMO_PROMPT_FRAME}"
            note(f"{told}; write a first and a last frame around that.", "demo")
        for key in ("path", *OBJECT):
            if key in said:
                note(f"{key} is beside demo:, which has its own; leave one of them out.", key)
    elif "path" in said:
        try:
            path = file_from(document.folder, said["path"])
        except ValueError as error:
            note(f"path is {document.shown((*place, 'path'))}; {error}.", "path")
        usual = name_for(Path(said["path"]))
    else:
        note("an entry of clips has no path; write path: and the clip's file.")
    run = said.get("run") or usual
    if len(run) > LONGEST_NAME:
        told = f"the run would be named as the clip, with {len(run)} letters, {LONGEST_NAME} are the most"
        note(f"{told}; write run: and a shorter one.")
    bbox = _corners(document, (*place, "bbox"), faults) if "bbox" in said else None
    by_hand = "bbox" in said or "point" in extract
    if "frame" in said and not by_hand:
        note("frame is that of bbox:, which is not here; write bbox: too, or leave frame: out.", "frame")
    if "object" in said and by_hand:
        note("object looks for what bbox: or point: gives; leave one of them out.", "object")
    cuts = said.get("cuts")
    if isinstance(cuts, list):
        if any(second <= first for first, second in itertools.pairwise(cuts)):
            note(f"cuts is {cuts}; write each frame once, the smallest first.", "cuts")
        cuts = tuple(cuts)
    correct = _corrections(document, place, said.get("frame", 0) if by_hand else None, faults)
    return SweepClip(path, demo, run, bbox, said.get("frame"), correct, cuts, said.get("object"), extract)


def _corrections(
    document: Document, place: Place, first: int | None, faults: list[Fault]
) -> tuple[tuple[int, Corners], ...]:
    """Return the corrections of a clip; first: the frame of its bbox, which has no other box."""
    found: dict[int, Corners] = {}
    for number, each in enumerate(document.at(place).get("correct", [])):
        here = (*place, "correct", number)
        if each["frame"] in found or each["frame"] == first:
            told = f"frame {each['frame']} has a box already; leave one of them out."
            faults.append((document.lines[*here, "frame"], told))
        found[each["frame"]] = _corners(document, (*here, "bbox"), faults)
    return tuple(found.items())


def _corners(document: Document, place: Place, faults: list[Fault]) -> Corners:
    x1, y1, x2, y2 = document.at(place)
    if not (x1 < x2 and y1 < y2):
        told = f"bbox is {[x1, y1, x2, y2]}, which has no inside; write [x1, y1, x2, y2] with x1 < x2 and y1 < y2."
        faults.append((document.lines[place], told))
    return x1, y1, x2, y2


def _check_runs(document: Document, clips: Iterable[SweepClip], faults: list[Fault]) -> None:
    """Note two clips whose runs have one name."""
    lines: dict[str, int] = {}
    for number, clip in enumerate(clips):
        line = document.lines["clips", number]
        if clip.run and clip.run in lines:
            told = f"this clip and that in line {lines[clip.run]} have one run, {shortened(clip.run)}"
            faults.append((line, f"{told}; write run: and another name here."))
        lines.setdefault(clip.run, line)


def _prompts(document: Document, faults: list[Fault]) -> tuple[str, ...]:
    """Return the prompts as reskin/nouns.py understands them, so that two ways to write one are one."""
    lines: dict[str, int] = {}
    for number, text in enumerate(document.value["prompts"]):
        line, text = document.lines["prompts", number], unicodedata.normalize("NFC", text)
        nouns = [" ".join(part.split()) for part in text.split(",")]
        prompt, longest = ", ".join(nouns), max(map(len, nouns))
        if any(unicodedata.category(letter).startswith("C") for letter in text if letter not in _JOINERS):
            faults.append((line, f"the prompt {text[:60]!r} has control characters; write plain words."))
        elif len(nouns) > 2 or not all(nouns):
            told = f"the prompt '{shortened(text)}' is not one or two nouns; write a new object and a new skater"
            faults.append((line, f'{told}, such as "cyberpunk drone, samurai", or the object alone.'))
        elif longest > LONGEST_NOUN:
            faults.append((line, f"the prompt has a noun of {longest} characters; {LONGEST_NOUN} is the most."))
        elif prompt in lines:
            faults.append((line, f"the prompt '{shortened(prompt)}' is in line {lines[prompt]} too; leave one out."))
        lines.setdefault(prompt, line)
    return tuple(lines)


def _seeds(document: Document, faults: list[Fault]) -> tuple[int, ...]:
    said = document.value.get("seeds", [0])
    entries = enumerate(said) if isinstance(said, list) else [(None, said)]
    lines: dict[int, int] = {}
    for number, each in entries:
        line = document.lines.get(("seeds",) if number is None else ("seeds", number), 1)
        first, last = (each, each) if isinstance(each, int) else map(int, each.split("-"))
        if first > last:
            faults.append((line, f"the seeds {each} end before they begin; write {last}-{first}."))
        elif last > LARGEST_SEED:
            faults.append((line, f"the seed {last} is too large; {LARGEST_SEED} is the largest."))
        elif len(lines) + last - first >= MOST_SEEDS:
            faults.append((line, f"these are more than {MOST_SEEDS} seeds; write fewer."))
            break
        else:
            span = range(first, last + 1)
            twice = next((seed for seed in span if seed in lines), None)
            if twice is not None:
                faults.append((line, f"the seed {twice} is in line {lines[twice]} too; leave one out."))
            lines |= dict.fromkeys(span, line)
    return tuple(lines)


def _workflow(document: Document, faults: list[Fault]) -> str | None:
    """Return a workflow's name, or the absolute path of a user's own."""
    text: str | None = document.value.get("workflow")
    known = {file.stem: file for file in WORKFLOWS.glob("*.json")}
    if text is None or text in known:
        return text
    try:
        if text.endswith(".json"):
            return str(file_from(document.folder, text))
        near = nearest(text, known)
        advice = f"did you mean {near}?" if near else f"write one of {', '.join(sorted(known))}, or a .json file."
    except ValueError as error:
        advice = f"{error}."
    faults.append((document.lines["workflow",], f"workflow is '{shortened(text)}'; {advice}"))
    return None
