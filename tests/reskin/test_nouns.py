"""What the prompt means: a folder's name, and sentences that say the nouns and reject what is replaced."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handoff.errors import UsageError
from handoff.places import Box, Detected, write_prompt
from handoff.places import Prompt as Place
from handoff.run import Run
from reskin.nouns import MAX_LENGTH, Nouns, check_name, old_object, parse_prompt, slug, write_texts

BOTH = Nouns("cyberpunk drone", "samurai")


def test_each_pass_says_its_own_noun_and_rejects_the_old_thing() -> None:
    texts = write_texts(BOTH, "skateboard")
    assert "cyberpunk drone" in texts.object
    assert "samurai" in texts.skater and "drone" not in texts.skater
    assert "cyberpunk drone" in texts.both and "samurai" in texts.both
    assert "skateboard" in texts.object_negative and "street clothes" in texts.skater_negative
    assert "skateboard" in texts.both_negative and "street clothes" in texts.both_negative
    assert "skateboard" not in texts.skater_negative


def test_what_is_rejected_is_what_the_object_was() -> None:
    texts = write_texts(BOTH, "sports ball")
    assert texts.object_negative.startswith("sports ball, ") and "sports ball, " in texts.both_negative
    assert not any("board" in each or "wheels" in each for each in vars(texts).values())
    assert "feet" not in texts.object and "riding" not in texts.skater, "nobody stands on a ball"
    assert "under the feet of samurai" in write_texts(BOTH, "snowboard").object


def test_where_nobody_knows_what_the_object_was_nothing_is_named() -> None:
    texts = write_texts(BOTH, None)
    assert not any("board" in each for each in vars(texts).values())
    assert texts.object_negative.startswith("blurred")
    assert texts.both_negative.startswith("street clothes")
    assert "feet" not in texts.object


def test_the_old_thing_is_in_no_positive_prompt_because_what_is_named_is_painted() -> None:
    texts = write_texts(BOTH, "skateboard")
    assert not any("skateboard" in each for each in texts.positive_of().values())


@pytest.mark.parametrize("words", [(Nouns("golden Skateboard", None),), (BOTH, "a matte black skateboard")])
def test_a_new_object_of_the_old_ones_kind_is_not_rejected(words: tuple[Nouns] | tuple[Nouns, str]) -> None:
    prompt, *own = words
    assert "skateboard" not in write_texts(prompt, "skateboard", *own).object_negative


def test_what_the_object_was_is_what_the_user_says_else_what_the_detector_called_it(
    make_run: Callable[..., Run], tmp_path: Path
) -> None:
    run, box, own = make_run(4), Box(20, 40, 52, 72), tmp_path / "own.mp4"
    own.write_bytes(run.path("mask.mp4").read_bytes())
    assert old_object(run, None, None) is None
    write_prompt(run, "object", Place(box, 0, "detector", detected=Detected("snowboard", 0.8, "yolox-nano")))
    assert old_object(run, None, None) == old_object(run, run.path("mask.mp4"), None) == "snowboard"
    assert old_object(run, None, "scooter") == "scooter"
    assert old_object(run, own, None) is None, "what a mask of the user's own shows, the detector has not seen"
    assert old_object(run, own, "scooter") == "scooter"
    write_prompt(run, "object", Place(box, 0, "flag"))
    assert old_object(run, None, None) is None


def test_a_single_noun_leaves_the_skater_out_of_the_prompt_and_of_the_negative_one() -> None:
    texts = write_texts(Nouns("hoverboard", None), "skateboard")
    assert "hoverboard" in texts.both
    assert "skeleton" not in texts.both
    assert "street clothes" not in texts.both_negative


def test_the_users_own_sentences_stand_in_place_of_ours() -> None:
    texts = write_texts(BOTH, "skateboard", "a matte black drone", "an old samurai in red armour")
    assert texts.object.startswith("a matte black drone, ") and "cyberpunk" not in texts.object
    assert texts.skater.startswith("an old samurai in red armour, ")
    assert texts.both.startswith("an old samurai in red armour, a matte black drone, ")


def test_passes_are_named_as_the_templates_name_them() -> None:
    texts = write_texts(BOTH, "skateboard")
    assert texts.positive_of() == {"": texts.both, "object": texts.object, "skater": texts.skater}
    assert texts.negative_of().keys() == texts.positive_of().keys()


def test_two_nouns_are_the_object_and_the_skater() -> None:
    assert parse_prompt("cyberpunk drone, samurai") == Nouns("cyberpunk drone", "samurai")


def test_one_noun_is_the_object_alone() -> None:
    assert parse_prompt("cyberpunk drone") == Nouns("cyberpunk drone", None)


def test_spaces_do_not_count() -> None:
    assert parse_prompt("  cyberpunk   drone ,samurai ") == Nouns("cyberpunk drone", "samurai")


@pytest.mark.parametrize("text", ["", " ", ",", "drone,", ", samurai", "a, b, c", "drone\nsamurai", "drone\x1b[31m"])
def test_anything_else_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(UsageError, match=r"cyberpunk drone, samurai|plain words"):
        parse_prompt(text)


def test_an_endless_noun_is_refused_with_its_length() -> None:
    with pytest.raises(UsageError, match=f"{MAX_LENGTH + 1} characters"):
        parse_prompt("x" * (MAX_LENGTH + 1))


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("cyberpunk drone, samurai", "cyberpunk-drone-samurai"),
        ("cyberpunk drone", "cyberpunk-drone"),
        ("4 wheel cart", "4-wheel-cart"),
        ("x" * 60, "x" * 60),
        ("reskin", "reskin"),
    ],
)
def test_the_slug_of_a_plain_prompt_is_its_words(text: str, name: str) -> None:
    assert slug(str(parse_prompt(text))) == name


FOLDING = [
    ("忍者", "侍"),
    ("忍者 drone", "侍 drone"),
    ("C++ drone", "C drone"),
    ("c# drone", "c drone"),
    ("Cyberpunk Drone", "cyberpunk drone"),
    ("CYBERPUNK DRONE", "Cyberpunk Drone"),
    ("Straße", "strasse"),
    ("ﬁsh", "fish"),
    ("Samuraï", "samurai"),
    ("n\u0303ame", "name"),
    ("\u0441amera", "camera"),  # the first letter is Cyrillic
    ("١٢", "٣٤"),
    ("🐉", "🐲"),
    ("👩\u200d🚀", "👩🚀"),
    ("drone 🐉", "drone"),
    ("sci-fi drone", "sci fi drone"),
    ("x" * 61, "x" * 62),
    ("drone of " * 8 + "gold", "drone of " * 8 + "silver"),
    ("con", "con!"),
    ("reskin", "?"),
    ("!", "?"),
    ("drone, samurai", "drone, Samurai"),
]


@pytest.mark.parametrize(("one", "other"), FOLDING)
def test_prompts_that_would_fold_together_have_two_folders(one: str, other: str) -> None:
    names = [slug(str(parse_prompt(text))) for text in (one, other)]
    assert len({name.casefold() for name in names}) == 2
    for name in names:
        assert check_name(f"{name}-seed999") and name.isascii() and name == name.lower()


def test_a_letter_and_its_accent_are_one_prompt_however_they_are_written() -> None:
    assert parse_prompt("samurai\u0308, n\u0303") == parse_prompt("samuraï, ñ")


@given(st.text(), st.text())
def test_a_slug_is_a_name_that_stays_in_its_folder_and_is_one_texts_only(one: str, other: str) -> None:
    assert check_name(slug(one)) == slug(one)
    assert slug(one) != slug(other) or one.replace(",", "") == other.replace(",", "")


@given(st.text("aB-+, é"), st.text("aB-+, é"))
def test_few_letters_fold_together_no_more_than_many(one: str, other: str) -> None:
    assert slug(one) != slug(other) or one.replace(",", "") == other.replace(",", "")


NO_FOLDERS = [
    "",
    ".",
    "..",
    "../x",
    "a/b",
    "a\\b",
    "/etc",
    "-rf",
    "a b",
    ".hidden",
    "a.",
    "a\n",
    "CON",
    "nul.txt",
    "忍者",
]


@pytest.mark.parametrize("name", [*NO_FOLDERS, "CON", "nul.txt", "com1"])
def test_a_name_that_leaves_the_folder_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="cannot be a folder's"):
        check_name(name)


@pytest.mark.parametrize("length", [101, 300, 100_000])
def test_a_name_that_is_too_long_is_refused_with_its_length(length: int) -> None:
    with pytest.raises(UsageError, match=f"^the name 'x{{40}}...' has {length} letters, 100 are the most; .* --name"):
        check_name("x" * length)
