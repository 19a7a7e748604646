"""The four sizes of SAM 2.1, by the names that --model takes. Importing this loads no torch."""

from __future__ import annotations

MODELS = {
    "tiny": "sam2-1-hiera-tiny",
    "small": "sam2-1-hiera-small",
    "base_plus": "sam2-1-hiera-base-plus",
    "large": "sam2-1-hiera-large",
}
"""The names of their weights in weights.toml."""

CONFIGS = {
    "tiny": "configs/sam2.1/sam2.1_hiera_t.yaml",
    "small": "configs/sam2.1/sam2.1_hiera_s.yaml",
    "base_plus": "configs/sam2.1/sam2.1_hiera_b+.yaml",
    "large": "configs/sam2.1/sam2.1_hiera_l.yaml",
}
"""The configuration files that the sam2 package carries for them."""
