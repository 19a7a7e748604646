"""python -m handoff.weights: fetch a profile's model files, or check them."""

from __future__ import annotations

from urllib.parse import urlsplit

import click

from handoff.errors import MissingError
from handoff.files import DigestError, settle
from handoff.links import refuse_link
from handoff.weights.registry import Registry, Weight, load_registry
from handoff.weights.store import models_dir, place_of, present, verify


@click.command()
@click.option("--profile", "profiles", metavar="NAME", multiple=True, help="what the files are for; may be repeated")
@click.option("--check", is_flag=True, help="download nothing: verify what is there; exit code 3 unless all is right")
@click.option(
    "--list",
    "list_them",
    is_flag=True,
    help="show what is here and what is missing: profiles with their sizes, files",
)
def command(profiles: tuple[str, ...], check: bool, list_them: bool) -> None:
    """Fetch the model files of weights.toml into the models folder, each verified by SHA-256.

    An interrupted download goes on where it was. Without a network, put a file into the models folder (in its place,
    or just there under its own name) and run this: it is verified and moved to its place.

    \b
    python -m handoff.weights                       the default profile
    python -m handoff.weights --profile tracker-tiny --profile pose
    python -m handoff.weights --check               verify, download nothing
    """
    registry = load_registry()
    if list_them:
        _list(registry)
        return
    chosen = profiles or registry.default
    weights = registry.of(chosen)
    click.echo(f"{', '.join(chosen)}: {len(weights)} file(s), {models_dir()}")
    if check:
        _check(weights, chosen)
        return
    for weight in weights:
        _fetch(weight)


def _size(weight: Weight) -> str:
    return "size not known" if weight.size_bytes is None else f"{weight.size_bytes / 1e6:,.1f} MB"


def _list(registry: Registry) -> None:
    """Show each profile with its size and what of it is here, then each file, here or missing."""
    click.echo("profiles:")
    for profile, text in registry.profiles.items():
        weights = registry.of([profile])
        absent = [weight for weight in weights if present(weight) is None]
        click.echo(f"  {profile}{' (default)' if profile in registry.default else ''}: {text}")
        left = f"{len(absent)} missing, {_total(absent)} to fetch" if absent else "all here"
        click.echo(f"    {len(weights)} file(s), {_total(weights)}: {left}")
    click.echo(f"files, below {models_dir()}:")
    for weight in registry.weights:
        state = "here   " if present(weight) else "missing"
        click.echo(f"  {state}  {weight.file}: {_size(weight)}, {weight.licence} ({weight.licence_url})")
        click.echo(f"           for {', '.join(weight.profiles)}; {weight.url}")


def _total(weights: list[Weight]) -> str:
    """Return the bytes of all of these in GB; "at least" where the size of one is not known."""
    known = sum(weight.size_bytes or 0 for weight in weights) / 1e9
    return f"{'' if all(weight.size_bytes for weight in weights) else 'at least '}{known:.2f} GB"


def _check(weights: list[Weight], profiles: tuple[str, ...]) -> None:
    bad = 0
    for weight in weights:
        path = present(weight)
        try:
            if path is not None:
                verify(weight, path)
        except DigestError as error:
            bad += 1
            click.echo(f"wrong    {error.what}: SHA-256 {error.actual}, must be {error.expected}")
            continue
        bad += path is None
        click.echo(f"ok       {path}" if path else f"missing  {place_of(weight)}  {weight.url}")
    if bad:
        names = " ".join(profiles)
        raise MissingError(
            f"{bad} of {len(weights)} files are not there or not right; move wrong ones away, then run "
            f'make weights PROFILE="{names}".'
        )


def _fetch(weight: Weight) -> None:
    """Bring one weight to its place: verified where it is, moved from where it was dropped, or downloaded."""
    place, path = place_of(weight), present(weight)
    for folder in (each for each in place.parents if each.is_relative_to(models_dir()) and each != models_dir()):
        refuse_link(folder)  # what is downloaded lies in the models folder
    if path is None:
        from handoff.weights.download import download  # where nothing is fetched, nobody needs requests

        click.echo(
            f"downloading {weight.file} ({_size(weight)}, {weight.licence}) from {urlsplit(weight.url).hostname}"
        )
        download(weight.url, place, sha256=weight.sha256, size_bytes=weight.size_bytes)
    else:
        verify(weight, path)
        if path != place:
            settle(path, place)
            click.echo(f"moved {path}")
    click.echo(f"ok       {place}")
