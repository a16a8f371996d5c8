"""A world for machines without GPU, network or corpora: scenes, corpora and the small CLIP's builder."""

from pathlib import Path

SANDBOX_CLIP = Path(__file__).parent / "models" / "clip"
"""The shipped CLIP for sandbox scenes; `python -m spare_assets.sandbox.clip_builder` rebuilds it."""
SANDBOX_VLM = Path(__file__).parent / "models" / "vlm"
"""The shipped base model of Qwen2-VL architecture; `python -m spare_assets.sandbox.vlm_builder` rebuilds it."""
