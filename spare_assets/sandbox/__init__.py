"""A world for machines without GPU, network or corpora: scenes, corpora and the small CLIP's builder."""

from pathlib import Path

SANDBOX_CLIP = Path(__file__).parent / "models" / "clip"
"""The shipped CLIP for sandbox scenes; `python -m spare_assets.sandbox.clip_builder` rebuilds it."""
