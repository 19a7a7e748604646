"""Which tracker: what goes together, and which file is a checkpoint of SAM 2.1. No model is loaded here."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from handoff.errors import MissingError, MissingWeightsError, UsageError
from handoff.files import DigestError
from tests.tracker.helpers import write_registry
from tracker import SkateboardTracker
from tracker.sam2.sizes import CONFIGS, MODELS
from tracker.selection import TrackerChoice, check_choice, identify, size_of_config, wanted_again

LARGE = "configs/sam2.1/sam2.1_hiera_l.yaml"


@pytest.fixture
def checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that the registry of these tests knows as hiera-large's."""
    path = tmp_path / "mine.pt"
    path.write_bytes(b"large")
    digest = hashlib.sha256(b"large").hexdigest()
    monkeypatch.setenv("WEIGHTS_TOML", str(write_registry(tmp_path / "weights.toml", large=digest)))
    monkeypatch.setenv("MODELS_DIR", str(tmp_path / "models"))
    return path


def test_every_size_has_a_configuration_and_weights() -> None:
    assert list(MODELS) == list(CONFIGS)


def test_a_checkpoint_is_known_by_its_digest_with_or_without_a_configuration(checkpoint: Path) -> None:
    known = ("large", hashlib.sha256(b"large").hexdigest())
    assert identify(checkpoint, LARGE) == identify(checkpoint, None) == known


@pytest.mark.parametrize("size", CONFIGS)
def test_a_configuration_is_a_name_or_a_path_that_ends_in_it(size: str) -> None:
    name = CONFIGS[size]
    for written in (name, f"/somewhere/sam2/{name}", Path(name).name, Path(name).name.removesuffix(".yaml")):
        assert size_of_config(written) == size


@pytest.mark.parametrize("wrong", ["sam2_hiera_l.yaml", "configs/sam2.1", "large", "", "sam2.1_hiera_l.yml"])
def test_a_configuration_that_is_none_of_sam_2_1_is_refused_with_those_that_are(wrong: str) -> None:
    with pytest.raises(UsageError, match=f"'{wrong}' is none of .*{LARGE}"):
        size_of_config(wrong)


def test_a_configuration_of_that_name_with_other_contents_is_not_silently_left_aside(tmp_path: Path) -> None:
    pytest.importorskip("sam2", reason="needs sam2's own configurations")
    mine = tmp_path / "sam2.1_hiera_l.yaml"
    mine.write_text("model: {}\n")
    with pytest.raises(UsageError, match=f"is not sam2's own {LARGE}"):
        size_of_config(str(mine))


def test_a_configuration_of_another_size_is_refused_with_the_one_that_fits(checkpoint: Path) -> None:
    with pytest.raises(UsageError, match=rf"that of SAM 2\.1 tiny and .*mine\.pt is SAM 2\.1 large; give {LARGE}"):
        identify(checkpoint, CONFIGS["tiny"])


def test_another_file_is_refused_with_both_digests(checkpoint: Path) -> None:
    checkpoint.write_bytes(b"rotten")
    with pytest.raises(DigestError, match=r"make weights PROFILE=tracker-large") as refused:
        identify(checkpoint, LARGE)
    assert refused.value.actual == hashlib.sha256(b"rotten").hexdigest()
    assert refused.value.expected == hashlib.sha256(b"large").hexdigest()
    assert refused.value.actual in str(refused.value) and refused.value.expected in str(refused.value)


def test_a_checkpoint_that_is_not_there_is_a_file_not_found_error_and_exit_code_3(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere\.pt; run make weights") as refused:
        SkateboardTracker(tmp_path / "nowhere.pt", LARGE)
    assert isinstance(refused.value, MissingWeightsError | MissingError) and refused.value.exit_code == 3


@pytest.mark.parametrize(
    ("wanted", "why"),
    [
        (TrackerChoice("often"), "no tracker backend 'often'"),
        (TrackerChoice(device="cuda:1"), "on device 'cuda:1' here; .*auto, cuda, cpu"),
        (TrackerChoice(model="huge"), "tiny, small, base_plus, large"),
        (TrackerChoice("embedded", checkpoint=Path("a.pt")), r"--checkpoint a\.pt is for SAM 2\.1"),
        (TrackerChoice(model="tiny", checkpoint=Path("a.pt")), "use one of them"),
        (TrackerChoice(config=LARGE), "goes with the weights of --checkpoint"),
        (TrackerChoice(checkpoint=Path("a.pt"), config="mine.yaml"), "'mine.yaml' is none of"),
    ],
)
def test_what_does_not_go_together_is_refused(wanted: TrackerChoice, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        check_choice(wanted)


@pytest.mark.parametrize("wrong", ["sam2.1_hiera_large.pt", Path("sam2.1_hiera_large.pt")])
def test_a_checkpoint_without_its_configuration_is_no_backend(wrong: str | Path) -> None:
    with pytest.raises(UsageError, match=r"SkateboardTracker\(checkpoint_path, config_path\)"):
        SkateboardTracker(wrong)  # type: ignore[arg-type]


def test_a_run_says_which_backend_and_model_and_whether_compiled_and_nothing_else() -> None:
    said = {"backend": "sam2", "model": "small", "compiled": True, "device": "cuda", "weights": "ab", "frame": 3}
    strange = {"overrides": ["++model._target_=os.system"], "checkpoint": "/x.pt", "config": "/x.yaml", "extra": 1}
    assert wanted_again(said | strange, "cpu") == TrackerChoice("sam2", "small", "cpu", compiled=True)
    assert wanted_again({"backend": "embedded", "model": "small", "compiled": True}) == TrackerChoice("embedded")
    for value in (False, None, 1, "true", [True]):
        assert not wanted_again(said | {"compiled": value}).compiled


@pytest.mark.parametrize(
    "wrong",
    [
        {"backend": "sam3"},
        {"backend": "os.system"},
        {"backend": None},
        {"backend": ["sam2"]},
        {"backend": "sam2"},
        {"backend": "sam2", "model": "../large"},
        {"backend": "sam2", "model": ["tiny"]},
    ],
)
def test_a_name_that_a_run_says_and_that_there_is_not_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(UsageError, match=r"there is no (tracker backend|SAM 2\.1 model) "):
        wanted_again(wrong)
