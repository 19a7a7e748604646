"""weights.toml is believed only when it is complete, and the project's own is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from handoff.errors import InputError, UsageError
from handoff.weights import load_registry

GOOD = """
schema = 1
default = ["tracker"]
[profiles]
tracker = "what the tracker needs"
pose = "what the pose needs"
[weights.one]
file = "sam2/one.pt"
url = "https://example.invalid/one.pt"
sha256 = "{digest}"
bytes = 12
licence = "Apache-2.0"
licence_url = "https://example.invalid/LICENSE"
profiles = ["tracker"]
[weights.two]
file = "pose/two.onnx"
url = "https://example.invalid/two.onnx"
sha256 = "{digest}"
licence = "MIT"
licence_url = "https://example.invalid/LICENSE"
profiles = ["tracker", "pose"]
""".format(digest="a1" * 32)


def write(folder: Path, text: str) -> Path:
    path = folder / "weights.toml"
    path.write_text(text)
    return path


def test_a_good_registry_is_read_as_it_is(tmp_path: Path) -> None:
    registry = load_registry(write(tmp_path, GOOD))
    one, two = registry.weights
    assert (one.name, one.file, one.size_bytes, one.licence) == ("one", "sam2/one.pt", 12, "Apache-2.0")
    assert (two.sha256, two.size_bytes, two.profiles) == ("a1" * 32, None, ("tracker", "pose"))
    assert registry.default == ("tracker",) and list(registry.profiles) == ["tracker", "pose"]


def test_other_good_copies_and_the_digest_inside_an_archive_are_read(tmp_path: Path) -> None:
    text = GOOD.replace("bytes = 12", f'also = ["{"b2" * 32}"]\nonnx_sha256 = "{"c3" * 32}"')
    one, two = load_registry(write(tmp_path, text)).weights
    assert (one.also, one.onnx_sha256) == (("b2" * 32,), "c3" * 32)
    assert (two.also, two.onnx_sha256) == ((), None)


def test_a_profile_names_its_weights_once_each(tmp_path: Path) -> None:
    registry = load_registry(write(tmp_path, GOOD))
    assert [weight.name for weight in registry.of(["pose"])] == ["two"]
    assert [weight.name for weight in registry.of(["pose", "tracker"])] == ["one", "two"]


def test_a_typo_is_answered_with_the_names_there_are(tmp_path: Path) -> None:
    registry = load_registry(write(tmp_path, GOOD))
    with pytest.raises(UsageError, match="no profile 'trakcer'; there are tracker, pose"):
        registry.of(["tracker", "trakcer"])
    with pytest.raises(UsageError, match=r"no weight 'three' .* there are one, two"):
        registry.weight("three")


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("schema = 1", "schema = 2", "schema is 2, this version reads 1"),
        ("schema = 1", "schema = ", "cannot be read as TOML"),
        ("[profiles]", "[profile]", "it needs default"),
        ('default = ["tracker"]', 'default = ["tracer"]', "profile 'tracer' is used and not described"),
        ('profiles = ["tracker", "pose"]', 'profiles = ["poser"]', "profile 'poser' is used and not described"),
        ('profiles = ["tracker", "pose"]', 'profiles = "pose"', "not a list of names"),
        ('profiles = ["tracker", "pose"]', "profiles = []", "not a list of names"),
        ('licence = "MIT"\n', "", r"\[weights.two\] lacks \['licence'\]"),
        ('licence = "MIT"', 'license = "MIT"\nlicence = "MIT"', r"has \['license'\] that nobody reads"),
        ('licence = "MIT"', "licence = 1", "are texts"),
        ("a1" * 32, "a1" * 31, "not 64 lower-case hex digits"),
        ("a1" * 32, "A1" * 32, "not 64 lower-case hex digits"),
        ("bytes = 12", f'also = ["{"A1" * 32}"]', r"also is 'A1.* not 64 lower-case hex digits"),
        ("bytes = 12", 'also = "a1"', "also is 'a1', not a list"),
        ("bytes = 12", "onnx_sha256 = 1", "onnx_sha256 is 1, not 64 lower-case hex digits"),
        ("bytes = 12", "bytes = 0", "bytes is 0, not a number above 0"),
        ("bytes = 12", "bytes = true", "bytes is True, not a number above 0"),
        ("bytes = 12", 'bytes = "12"', "bytes is '12', not a number above 0"),
        ('"sam2/one.pt"', '"../one.pt"', "not a place below the models folder"),
        ('"sam2/one.pt"', '"/one.pt"', "not a place below the models folder"),
        ('"sam2/one.pt"', '"sam2/two.onnx"', "two weights have the file name 'two.onnx'"),
        ("https://example.invalid/one.pt", "http://example.invalid/one.pt", r"\[weights.one\]: .* is not https"),
    ],
)
def test_a_bad_registry_is_refused_with_the_reason(tmp_path: Path, old: str, new: str, why: str) -> None:
    assert old in GOOD
    path = write(tmp_path, GOOD.replace(old, new, 1))
    with pytest.raises(InputError, match=why) as caught:
        load_registry(path)
    assert str(path) in str(caught.value)


def test_a_registry_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=re.escape(str(tmp_path / "weights.toml"))):
        load_registry(tmp_path / "weights.toml")


def test_the_environment_may_name_another_registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEIGHTS_TOML", str(write(tmp_path, GOOD)))
    assert [weight.name for weight in load_registry().weights] == ["one", "two"]


def test_the_projects_own_registry_has_what_the_pipeline_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WEIGHTS_TOML", raising=False)
    registry = load_registry()
    files = {profile: [weight.file for weight in registry.of([profile])] for profile in registry.profiles}
    assert files["tracker"] == ["sam2/sam2.1_hiera_large.pt"] and registry.default == ("tracker", "pose", "detect")
    assert files["tracker-tiny"] == ["sam2/sam2.1_hiera_tiny.pt"]
    assert len(files["reskin"]) == 3 and all(files.values())
    assert set(files["production"]) == {
        each for name in ("tracker", "pose", "detect", "reskin") for each in files[name]
    }
    assert len({weight.sha256 for weight in registry.weights}) == len(registry.weights)
    assert all(weight.url.startswith("https://") for weight in registry.weights)
    assert registry.weight("sam2-1-hiera-large").size_bytes == 898083611
