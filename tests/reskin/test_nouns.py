"""Nouns become sentences that say them, and the negative prompt names what is replaced."""

from __future__ import annotations

from reskin.nouns import write_texts
from reskin.prompt import Prompt

BOTH = Prompt("cyberpunk drone", "samurai")


def test_each_pass_says_its_own_noun_and_rejects_the_old_thing() -> None:
    texts = write_texts(BOTH)
    assert "cyberpunk drone" in texts.object
    assert "samurai" in texts.skater and "drone" not in texts.skater
    assert "cyberpunk drone" in texts.both and "samurai" in texts.both
    assert "skateboard" in texts.object_negative and "street clothes" in texts.skater_negative
    assert "skateboard" in texts.both_negative and "street clothes" in texts.both_negative
    assert "skateboard" not in texts.skater_negative


def test_a_single_noun_leaves_the_skater_out_of_the_prompt_and_of_the_negative_one() -> None:
    texts = write_texts(Prompt("hoverboard", None))
    assert "hoverboard" in texts.both
    assert "skeleton" not in texts.both
    assert "street clothes" not in texts.both_negative


def test_the_users_own_sentences_stand_in_place_of_ours() -> None:
    texts = write_texts(BOTH, "a matte black drone", "an old samurai in red armour")
    assert texts.object.startswith("a matte black drone, ") and "cyberpunk" not in texts.object
    assert texts.skater.startswith("an old samurai in red armour, ")
    assert texts.both.startswith("an old samurai in red armour, a matte black drone, ")


def test_passes_are_named_as_the_templates_name_them() -> None:
    texts = write_texts(BOTH)
    assert texts.positive_of() == {"": texts.both, "object": texts.object, "skater": texts.skater}
    assert texts.negative_of().keys() == texts.positive_of().keys()
