"""Model files: what weights.toml says of them, where they lie, and whether they are the right ones.

    from handoff.weights import find_weight
    checkpoint = find_weight("sam2-1-hiera-large")  # SHA-256 verified, or MissingError / DigestError

`python -m handoff.weights` fetches and checks them.
"""

from handoff.files import DigestError
from handoff.weights.registry import Registry, Weight, load_registry
from handoff.weights.store import find_weight, find_with_digest, models_dir

__all__ = ["DigestError", "Registry", "Weight", "find_weight", "find_with_digest", "load_registry", "models_dir"]
