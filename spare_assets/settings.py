"""Typed settings of a profile, and the home that its runs write to.

A profile is one YAML file. Everything that code reads from it is declared here, once, with its default and its
meaning. Nothing here imports Dagster or a model library, and nothing here touches the data itself.
"""

from __future__ import annotations

import copy
import difflib
import hashlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_core import ErrorDetails

from spare_assets.storage.durability import write_whole

PROFILE_VARIABLE = "SPARE_PROFILE"
HOME_VARIABLE = "SPARE_HOME"
DATA_VARIABLE = "SPARE_DATA"
PROFILES = Path(__file__).parent / "profiles"
HOME_RECORD = "profile.json"
SHIPPED_CLIP = "sandbox"
"""The value of `clip.model` that names the small model of the package."""
SHIPPED_VLM = "sandbox"
"""The value of a recipe's `base` and a model's `model` that names the small vision-language model of the package."""
SOURCE_KEY = r"^[a-z0-9][a-z0-9_-]*$"
OWNER = r"^(team:.+|[A-Za-z0-9_][A-Za-z0-9._%+-]*@[A-Za-z0-9.-]+\.[A-Za-z]{2,7})$"
RESERVED_SOURCE = "total"
"""The row of the statistics that sums all sources."""


class SettingsError(ValueError):
    """A profile, a home or a setting is wrong; the message says where and what to do."""


class Strict(BaseModel):
    """A settings section: unknown keys are refused, values never change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _without_secrets(address: str) -> str:
    """An address as tables and messages may show it."""
    try:
        parts = urlsplit(address)
    except ValueError:
        raise ValueError("not an address") from None
    if parts.username or parts.password or parts.query:
        raise ValueError("no user, password or query in an address; a key goes into an environment variable")
    return address


Address = Annotated[str, AfterValidator(_without_secrets)]


class SceneSettings(Strict):
    """Scenes that the renderer writes into a source's path when it is not there yet (sandbox only)."""

    count: int = Field(1000, ge=1, description="Scenes, and so images and captions, to render.")
    seed: int = Field(0, description="Seed of the renderer; equal seeds give equal files.")


class SourceSettings(Strict):
    """One caption source, which is one partition of the graph."""

    format: Literal["docci", "localized_narratives", "pixmo_cap", "table"] = Field(
        description="Native release format, or `table` for JSON lines, CSV or Parquet with named columns."
    )
    files: tuple[str, ...] = Field(
        min_length=1, description="Caption files or glob patterns, relative to the data folder."
    )
    splits: tuple[str, ...] | None = Field(None, description="Splits to keep (DOCCI); all when absent.")
    columns: dict[str, str] = Field(
        default_factory=dict,
        description="For `table`: which columns hold caption, image, id, split. `caption` is required.",
    )
    image_folders: dict[str, str] = Field(
        default_factory=dict,
        description="Folders that hold the images, by the source's own image set (`default` where it has one).",
    )
    skip_empty: bool = Field(
        False, description="For `table`: rows without a caption are passed over instead of quarantined."
    )
    download_images: bool = Field(False, description="Fetch images that have a URL and no local file.")
    scenes: SceneSettings | None = Field(None, description="Render this source when its files are absent.")
    licence: str = Field("unknown", description="Licence of the captions, for the dataset card.")
    image_licence: str = Field(
        "unknown", description="Licence of the images: whether they may be embedded in what is published."
    )
    homepage: str | None = Field(None, description="Where the corpus comes from; named when files are missing.")
    citation: str | None = Field(None, description="How the corpus asks to be cited, as BibTeX, for the dataset card.")

    @model_validator(mode="after")
    def _caption_column_named(self) -> SourceSettings:
        allowed = {"caption", "image", "id", "split"}
        if self.format == "table" and "caption" not in self.columns:
            raise ValueError("format `table` needs `columns: {caption: <column name>}`")
        if unknown := set(self.columns) - allowed:
            raise ValueError(f"unknown columns {sorted(unknown)}: use {sorted(allowed)}")
        return self


class RayWorkers(Strict):
    """Workers on a Ray cluster that answer instead of this process (optional extra `ray`)."""

    workers: int = Field(ge=1, description="Workers, each holding the engine once.")
    cpus_per_worker: float = Field(1.0, gt=0, description="Processors that Ray sets aside for a worker.")
    gpus_per_worker: float = Field(
        0.0, ge=0, description="GPUs that Ray sets aside for a worker; for vLLM its `tensor_parallel_size`."
    )
    address: str | None = Field(
        None, description="Address of the cluster; that of RAY_ADDRESS when absent, else a Ray on this machine."
    )
    restarts: int = Field(3, ge=0, description="Workers that may die during a stage, each replaced by a new one.")


_RAY = Field(None, description="Workers on a Ray cluster that answer instead of this process.")


class RuleBasedEngine(Strict):
    """The grammar over the relation taxonomy: no model, no download."""

    kind: Literal["rule_based"] = Field("rule_based", description="The grammar; no model.")
    ledger: bool = Field(True, description="Write its replies to the completion ledger like any engine's.")
    slips: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Share of captions for which it makes the slips language models make; for the sandbox only.",
    )
    asides: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Share of captions of which it also asks what is not spatial, as language models do.",
    )
    strictness: Literal["lenient", "standard", "strict"] = Field(
        "standard",
        description="What counts as spatial: any keyword of the taxonomy; what the grammar can read; of that, "
        "directions alone.",
    )
    ray: RayWorkers | None = _RAY


class TransformersEngine(Strict):
    """A chat model run in this process with Hugging Face transformers."""

    kind: Literal["transformers"] = Field("transformers", description="A model in this process.")
    model: str = Field(
        description="Hub id, local folder, or `package:<name>` for weights that an installed package carries."
    )
    revision: str | None = Field(None, description="Commit of the hub repository; pin it.")
    gguf_file: str | None = Field(None, description="GGUF file in `model`, for a text model; loads unpacked.")
    tokenizer: str | None = Field(None, description="Tokenizer folder or id, where it differs from `model`.")
    device: str = Field("auto", description="`cuda`, `cpu`, or `auto` for the GPU where there is one.")
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = Field(
        "auto", description="Number format of the weights; `auto`: as they are stored."
    )
    batch_size: int = Field(16, ge=1, description="Requests generated together.")
    structured: bool = Field(True, description="Constrain replies to the JSON schema while decoding.")
    adapter: str | None = Field(None, description="Folder of a LoRA adapter to put on the model.")
    min_pixels: int | None = Field(None, ge=1, description="Smaller pictures are enlarged to this many pixels.")
    max_pixels: int | None = Field(None, ge=1, description="Larger pictures are reduced to this many pixels.")
    ray: RayWorkers | None = _RAY


class OpenAIEngine(Strict):
    """Any server that speaks the OpenAI chat completions protocol."""

    kind: Literal["openai"] = Field("openai", description="A server.")
    model: str = Field(description="Model name the server knows.")
    revision: str | None = Field(None, description="Declared revision; part of the ledger key. The URL is not.")
    base_url: Address = Field("http://127.0.0.1:8000/v1", description="Root of the API, ending in /v1.")
    api_key_variable: str | None = Field(
        "OPENAI_API_KEY", description="Environment variable holding the key; never stored or logged."
    )
    structured: Literal["json_schema", "json_object_schema", "guided_json", "none"] = Field(
        "json_schema", description="How this server is asked for structured output."
    )
    token_limit_field: Literal["max_tokens", "max_completion_tokens"] = Field(
        "max_tokens", description="What this server calls the reply limit."
    )
    concurrency: int = Field(32, ge=1, description="Requests in flight at once.")
    timeout_seconds: float = Field(300, gt=0, description="Time limit of one attempt.")
    attempts: int = Field(
        8,
        ge=1,
        description="Attempts per request before it counts as failed; the pauses between eight outlast a minute.",
    )
    backoff_seconds: float = Field(1.0, gt=0, description="First pause between attempts; doubles, with jitter.")


class VllmEngine(Strict):
    """A chat model run in this process with vLLM (optional extra)."""

    kind: Literal["vllm"] = Field("vllm", description="A model in this process, with vLLM.")
    model: str = Field(description="Hub id or local folder.")
    revision: str | None = Field(None, description="Commit of the hub repository; pin it.")
    dtype: Literal["auto", "bfloat16", "float16"] = Field("bfloat16", description="Number format of the weights.")
    tensor_parallel_size: int = Field(1, ge=1, description="GPUs that share the model.")
    gpu_memory_utilization: float = Field(0.9, gt=0, le=1, description="Share of a GPU's memory that vLLM takes.")
    max_model_len: int | None = Field(
        None, description="Longest prompt and reply together, in tokens; the model's own when absent."
    )
    window: int = Field(4096, ge=1, description="Requests handed to vLLM at once.")
    ray: RayWorkers | None = _RAY


EngineSettings = Annotated[
    RuleBasedEngine | TransformersEngine | OpenAIEngine | VllmEngine, Field(discriminator="kind")
]


class SynthesisSettings(Strict):
    """The pre-filter and the generation of pairs (paper 3.2.1)."""

    filter_engine: str = Field(description="Engine that judges whether a caption is spatial.")
    generation_engine: str = Field(description="Engine that writes the pairs.")
    minimum_probability: float = Field(
        0.5,
        ge=0,
        le=1,
        description="p(yes) from which a caption counts as spatial, where the engine gives one.",
    )
    max_new_tokens: int = Field(8192, ge=1, description="Reply limit of generation (paper: 8,192).")
    max_pairs: int = Field(64, ge=1, description="Bound of the reply schema; longer lists loop.")
    prompts: str | None = Field(None, description="Folder of prompt files that replaces the shipped one.")


class DownloadSettings(Strict):
    """How images are fetched by URL."""

    concurrency: int = Field(64, ge=1, description="Downloads in flight at once.")
    per_host: int = Field(8, ge=1, description="Downloads in flight per host.")
    attempts: int = Field(4, ge=1, description="Attempts per image, with back-off between them.")
    backoff_seconds: float = Field(1.0, gt=0, description="First pause between attempts; doubles, with jitter.")
    timeout_seconds: float = Field(60, gt=0, description="Time limit of one attempt.")
    max_bytes: int = Field(50_000_000, ge=1, description="Largest accepted file.")
    max_pixels: int = Field(100_000_000, ge=1, description="Largest accepted picture, width times height.")
    max_redirects: int = Field(5, ge=0, description="Redirects followed per image.")
    allow_private_hosts: bool = Field(False, description="Allow loopback and private addresses (tests only).")


class ClipSettings(Strict):
    """The CLIP model behind checks 1 and 4."""

    model: str = Field(
        description="open_clip architecture name, a folder of config and weights, or `sandbox`: the shipped one."
    )
    pretrained: str | None = Field(None, description="open_clip pretrained tag; pin it as `tag@commit`.")
    device: str = Field("auto", description="`cuda`, `cpu`, or `auto` for the GPU where there is one.")
    batch_size: int = Field(256, ge=1, description="Images or questions embedded together.")


class QualitySettings(Strict):
    """The five checks (paper 3.3)."""

    duplicate_cosine: float = Field(0.95, ge=-1, le=1, description="Check 1: drop above this question cosine.")
    reference_terms: tuple[str, ...] | None = Field(
        None, description="Check 2: terms that betray talk of the caption; the shipped list when absent."
    )
    minimum_grounding: float = Field(
        0.5, ge=0, le=1, description="Check 3: share of the answer's content words found in the caption."
    )
    images_of_all_captions: bool = Field(
        False, description="Resolve images of all captions, not only of those with pairs after check 3."
    )
    alignment: Literal["required", "when_image_present", "off"] = Field(
        "required", description="Check 4: whether a pair without a usable image may pass unscored."
    )
    minimum_alignment: float = Field(0.25, description="Check 4: image-question similarity to keep a pair.")
    alignment_weight: float = Field(1.0, gt=0, description="Factor on the cosine; CLIPScore as published: 2.5.")
    alignment_prefix: str = Field("", description="Text before the question; CLIPScore: 'A photo depicts '.")
    verification_engine: str = Field(description="Check 5: engine that judges whether a pair is spatial.")
    verification: Literal["per_pair", "per_sample"] = Field(
        "per_pair", description="Check 5: one question per pair, or one for all pairs of a sample."
    )
    minimum_probability: float = Field(0.5, ge=0, le=1, description="Check 5: p(yes) to keep a pair.")

    @field_validator("alignment", mode="before")
    @classmethod
    def _off_unquoted(cls, alignment: Any) -> Any:
        """YAML reads a plain `off` as false."""
        return "off" if alignment is False else alignment


class LoraSettings(Strict):
    """Low-rank adapters on the language model (the paper's 7B recipe; rank, alpha and targets are ours)."""

    rank: int = Field(64, ge=1, description="Rank of the adapters.")
    alpha: int = Field(128, ge=1, description="Their scale, divided by the rank.")
    targets: str = Field(
        r".*language_model.*\.(q|k|v|o|gate|up|down)_proj",
        description="Modules that get adapters: a regular expression over full names. The vision tower gets none.",
    )
    merge: bool = Field(False, description="Store the base with the adapter merged in, instead of the adapter alone.")


class RecipeSettings(Strict):
    """How a model is fine-tuned (paper 3.7, 4.1.2, Tables 5 and 6)."""

    base: str = Field(description="Model to start from: hub id, local folder, or `sandbox`: the shipped one.")
    revision: str | None = Field(None, description="Commit of the hub repository; pin it.")
    rows: Literal["training_samples", "caption_training_samples"] = Field(
        "training_samples", description="Which rows it trains on: pairs, or captions alone (the baseline of 4.5.5)."
    )
    method: Literal["full", "lora"] = Field("full", description="All weights, or adapters.")
    lora: LoraSettings = LoraSettings()
    learning_rate: float = Field(gt=0, description="Peak of the schedule.")
    batch_size: int = Field(ge=1, description="Rows per optimizer step, over all processes and accumulated steps.")
    micro_batch_size: int = Field(1, ge=1, description="Rows per forward pass of one process.")
    epochs: int = Field(2, ge=1, description="Passes over the training rows.")
    max_steps: int | None = Field(None, ge=1, description="Optimizer steps, instead of what the epochs come to.")
    optimizer: Literal["adamw", "adamw_8bit"] = Field(
        "adamw", description="AdamW; `adamw_8bit` keeps its state in 8 bits, in a quarter of the memory."
    )
    weight_decay: float = Field(0.0, ge=0, description="Decay of the weights per step, times the learning rate.")
    warmup_steps: int = Field(1000, ge=0, description="Steps over which the learning rate rises linearly.")
    schedule: Literal["linear", "cosine", "constant"] = Field("cosine", description="What follows the warm-up.")
    max_gradient_norm: float = Field(1.0, gt=0, description="Gradients are scaled down to this norm.")
    dropout: float = Field(
        0.1, ge=0, lt=1, description="On attention for full fine-tuning (Qwen2-VL has no other), on adapters for LoRA."
    )
    dtype: Literal["bfloat16", "float32"] = Field("bfloat16", description="Number format of the forward pass.")
    min_pixels: int = Field(3136, ge=1, description="Smaller pictures are enlarged to this many pixels.")
    max_pixels: int = Field(1_003_520, ge=1, description="Larger pictures are reduced to this many pixels.")
    system_prompt: str | None = Field(None, description="System message; the chat template's own when absent.")
    max_length: int = Field(4096, ge=16, description="Longest row in tokens. Longer rows are set aside, never cut.")
    gradient_checkpointing: bool = Field(
        False, description="Compute the forward pass again in the backward pass: less memory, slower."
    )
    attention: Literal["auto", "flash_attention_2", "sdpa", "eager"] = Field(
        "auto", description="`auto`: flash attention where it is installed and there is a GPU, else sdpa."
    )
    liger: bool | None = Field(None, description="Liger kernels; where they are installed when not said.")
    require_gpu: bool = Field(False, description="Refuse to start without a GPU.")
    accelerate_config: str | None = Field(
        None, description="Configuration file of `accelerate launch`, for several processes (DDP, FSDP)."
    )
    save_steps: int = Field(200, ge=1, description="Steps between saved states to resume from.")
    log_steps: int = Field(10, ge=1, description="Steps between reports of loss, learning rate and speed.")
    loader_processes: int = Field(0, ge=0, description="Processes that read and prepare pictures.")
    image_cache_megabytes: int = Field(0, ge=0, description="Memory for prepared pictures, for small training sets.")

    @property
    def stores_adapter(self) -> bool:
        """Whether what is stored is an adapter alone, to be put on the base."""
        return self.method == "lora" and not self.lora.merge

    @model_validator(mode="after")
    def _sizes_fit(self) -> RecipeSettings:
        if self.batch_size % self.micro_batch_size:
            raise ValueError(f"batch_size {self.batch_size} is no multiple of micro_batch_size {self.micro_batch_size}")
        if self.min_pixels > self.max_pixels:
            raise ValueError(f"min_pixels {self.min_pixels} exceeds max_pixels {self.max_pixels}")
        return self


class SearchSettings(Strict):
    """The hyperparameter search (Tables 5 and 6, "tried"), ranked by held-out loss."""

    enabled: bool = Field(False, description="Whether materializing `hyperparameter_trials` trains anything.")
    recipe: str = Field(description="Recipe to vary.")
    tried: dict[str, tuple[Any, ...]] = Field(min_length=1, description="Values to try, by setting of the recipe.")
    grid: bool = Field(
        False, description="All combinations. Otherwise one setting at a time is varied from the recipe's own values."
    )
    seed: int = Field(0, description="Seed of every trial.")


class TrainingSettings(Strict):
    """Training rows and recipes (paper 3.7, 4.1)."""

    recipes: dict[str, RecipeSettings] = Field(default_factory=dict, description="Ways to train, by name.")
    search: SearchSettings | None = None
    unit: Literal["image", "pair"] = Field(
        "image", description="One row per image with all its turns, or one row per pair."
    )
    held_out_share: float = Field(0.02, ge=0, lt=1, description="Share of images whose rows are held out for the loss.")
    benign_share: float = Field(
        0.1, ge=0, lt=1, description="Most of the turns that may be benign pairs: passed checks 1-4, failed check 5."
    )
    contamination: Literal["report", "exclude"] = Field(
        "report", description="What happens to training images that a benchmark uses."
    )
    frames: tuple[Literal["viewer", "object", "ambiguous", "none"], ...] | None = Field(
        None, min_length=1, description="Frames of reference whose spatial pairs are trained on; all when absent."
    )
    hash_distance: int = Field(
        4, ge=0, le=64, description="Perceptual hashes that differ in at most so many of 64 bits are of one picture."
    )
    caption_instruction: str = Field(
        "Describe this image in detail.", description="What the caption-trained baseline is asked."
    )

    @model_validator(mode="after")
    def _recipes_declared(self) -> TrainingSettings:
        if self.search is None:
            return self
        if self.search.recipe not in self.recipes:
            raise ValueError(f"search.recipe names {self.search.recipe!r}, which `recipes` does not declare")
        if unknown := sorted(set(self.search.tried) - set(RecipeSettings.model_fields)):
            raise ValueError(f"search.tried: a recipe has no setting {', '.join(unknown)}")
        return self


_DIALECT = Field(
    "default", pattern=SOURCE_KEY, description="Wording of benchmark prompts: prompts/benchmarks/<dialect>."
)


class TrainedModel(Strict):
    """A model that this graph fine-tunes."""

    kind: Literal["trained"] = Field("trained", description="Fine-tuned here.")
    recipe: str = Field(description="One of `training.recipes`.")
    seed: int = Field(0, description="Seed of the order of the rows, of dropout and of new weights.")
    dialect: str = _DIALECT


class ReleasedModel(Strict):
    """A model as released, to compare with."""

    kind: Literal["base"] = Field("base", description="As released; not trained.")
    model: str = Field(description="Hub id, local folder, or `sandbox`: the shipped one.")
    revision: str | None = Field(None, description="Commit of the hub repository; pin it.")
    adapter: str | None = Field(None, description="Folder of a LoRA adapter to put on it.")
    dialect: str = _DIALECT
    min_pixels: int | None = Field(None, ge=1, description="Resolution it is asked at, instead of that of `scoring`.")
    max_pixels: int | None = Field(None, ge=1, description="As `min_pixels`.")
    fixed_resolution: bool = Field(
        False, description="Its pictures have a size of their own (LLaVA): no bounds on their pixels are set."
    )
    system_prompt: str | None = Field(None, description="System message, instead of that of `scoring`.")


class EndpointModel(Strict):
    """A model behind an OpenAI-compatible server, by the engine that reaches it."""

    kind: Literal["endpoint"] = Field("endpoint", description="Behind a server.")
    engine: str = Field(description="An engine of kind `openai`.")
    dialect: str = _DIALECT
    sample: int | None = Field(
        None, ge=1, description="Questions asked of each benchmark, to bound the cost (paper: 100, Appendix F)."
    )


ModelSettings = Annotated[TrainedModel | ReleasedModel | EndpointModel, Field(discriminator="kind")]


class BenchmarkSettings(Strict):
    """Where the files of one benchmark lie."""

    file: str = Field(description="The benchmark's records, relative to the data folder.")
    images: str | None = Field(None, description="Folder of its images, where the records only name them.")
    variant: Literal["vlmevalkit", "official"] = Field(
        "vlmevalkit", description="RealWorldQA and MMMU: asked and scored as VLMEvalKit does, or by the release itself."
    )
    extraction: Literal["vlmevalkit", "answer_is"] = Field(
        "vlmevalkit", description="How an option is read out of a reply; `answer_is` also takes `the answer is X`."
    )
    scenes: SceneSettings | None = Field(None, description="Render this benchmark when its file is absent (sandbox).")


class ScoringSettings(Strict):
    """How models are asked the benchmarks' questions (paper 4.3)."""

    device: str = Field("auto", description="`cuda`, `cpu`, or `auto` for the GPU where there is one.")
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = Field(
        "auto", description="Number format of the weights; `auto`: as they are stored."
    )
    batch_size: int = Field(16, ge=1, description="Questions answered together.")
    min_pixels: int | None = Field(
        None, ge=1, description="Resolution for models not trained here; those trained are asked at their recipe's."
    )
    max_pixels: int | None = Field(None, ge=1, description="As `min_pixels`; the processor's own when absent.")
    system_prompt: str | None = Field(
        None, description="System message for models not trained here; the chat template's own when absent."
    )
    prompts: str | None = Field(None, description="Folder of prompt files that replaces prompts/benchmarks.")
    ray: RayWorkers | None = _RAY
    bootstrap_draws: int = Field(2000, ge=100, description="Draws behind each interval and p-value.")


BENCHMARKS = (
    "vsr",
    "whats_up_a",
    "whats_up_b",
    "threedsr_bench",
    "realworldqa",
    "mmmu",
    "mmbench",
    "hallusion_bench",
    "textvqa",
    "mme",
)
"""The ten benchmarks, in the order of the paper's Table 3."""


class VqaDataset(Strict):
    """Where the annotation files of one visual question answering dataset lie (paper 2.2, Table 2)."""

    title: str = Field(description="Its name, as tables print it.")
    format: Literal["vqav2", "gqa", "visual7w", "vsr", "hateful_memes", "conversations"] = Field(
        description="Native annotation format; OKVQA has VQAv2's, `conversations` is InternVL's and LLaVA's."
    )
    files: tuple[str, ...] = Field(
        min_length=1, description="Annotation files or glob patterns, relative to the data folder."
    )
    homepage: str | None = Field(None, description="Where the dataset comes from; named when files are missing.")
    scenes: SceneSettings | None = Field(None, description="Render this dataset when its files are absent (sandbox).")


class Price(Strict):
    """What asking or training costs: by token for a server that is paid so, by the hour for GPUs."""

    prompt_per_million: float = Field(0.0, ge=0, description="Per million prompt tokens.")
    completion_per_million: float = Field(0.0, ge=0, description="Per million completion tokens.")
    per_gpu_hour: float = Field(0.0, ge=0, description="Per hour and GPU, while replies are made.")
    gpus: int = Field(1, ge=1, description="GPUs that work at once.")


class PriceSettings(Strict):
    """Prices behind the forecast and the cost report. What has none has no cost in them."""

    currency: str = Field("USD", description="What the prices are in.")
    engines: dict[str, Price] = Field(default_factory=dict, description="By engine.")
    scoring: Price | None = Field(None, description="Of asking benchmarks of models in this process.")
    training: Price | None = Field(None, description="Of training; only the hours count.")


class ForecastSettings(Strict):
    """The sample that a forecast of a source asks."""

    share: float = Field(0.05, gt=0, le=1, description="Share of the source's captions.")
    minimum: int = Field(50, ge=4, description="Captions asked at least, or all where there are fewer.")
    maximum: int = Field(2000, ge=4, description="Captions asked at most.")
    level: float = Field(0.97, gt=0, lt=1, description="How often the interval shall hold what the full run uses.")


class AblationSettings(Strict):
    """The engines compared with each other (paper B.1 and B.2, Tables 7 and 8)."""

    captions: int = Field(100, ge=1, description="Captions every engine is asked about (paper: 100).")
    generation: tuple[str, ...] = Field((), description="Engines that write pairs, in the table's order.")
    filter: tuple[str, ...] = Field(
        (), description="Engines that judge captions, in the table's order; times are relative to the first."
    )


class AnalysesSettings(Strict):
    """What is measured of other datasets and of this one, beside making it."""

    vqa: dict[str, VqaDataset] = Field(
        default_factory=dict, description="Visual question answering datasets to compare with, in the tables' order."
    )
    spatial_engine: str | None = Field(
        None, description="Engine that judges whether their questions are spatial; the grammar, over all, when absent."
    )
    spatial_sample: int = Field(1000, ge=1, description="Questions of each dataset that the engine is asked about.")
    prices: PriceSettings = PriceSettings()
    forecast: ForecastSettings = ForecastSettings()
    ablations: AblationSettings = AblationSettings()

    @field_validator("vqa")
    @classmethod
    def _dataset_keys(cls, datasets: dict[str, VqaDataset]) -> dict[str, VqaDataset]:
        for key in datasets:
            if not re.fullmatch(SOURCE_KEY, key) or key == RESERVED_SOURCE:
                raise ValueError(
                    f"dataset key {key!r}: use lower-case letters, digits, - and _, and not {RESERVED_SOURCE!r}"
                )
        return datasets


class ReviewSettings(Strict):
    """How much of the dataset people look at, and where their verdicts are put (paper 3.4, 3.5, Appendix E)."""

    unit: Literal["sample", "pair"] = Field(
        "sample",
        description="What is drawn: captions, one pair of each (the paper counts 455,494 samples), or pairs.",
    )
    confidence: float = Field(1.96, gt=0, description="Z of the sample size and of all intervals; 1.96 is 95 %.")
    proportion: float = Field(0.5, gt=0, lt=1, description="Assumed error rate; 0.5 asks for the largest sample.")
    margin: float = Field(0.05, gt=0, lt=1, description="Margin of error.")
    round_up_to: int = Field(100, ge=1, description="The size is rounded up to a multiple of this (384 to 400).")
    captions: int = Field(100, ge=0, description="Captions to label as spatial or not, for the filter ablation (B.2).")
    seed: int = Field(0, description="Another seed draws another sample.")
    picture_side: int = Field(320, ge=64, le=1024, description="Longer side of the page's pictures, in pixels.")
    page_megabytes: float = Field(24, gt=0, description="Size the page keeps within, by smaller pictures.")
    folder: str = Field("reviews", description="Where reviewers' files are put, relative to the home.")


class PublicationSettings(Strict):
    """The dataset's card, and whether, where and how the dataset is pushed to a hub."""

    enabled: bool = Field(False, description="Whether materializing `published_dataset` pushes anything.")
    repo_id: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*$",
        description="Dataset repository on the hub, `<owner>/<name>`.",
    )
    private: bool = Field(True, description="Create the repository as private; one that is there stays as it is.")
    pretty_name: str = Field("Spatial question-answer pairs from image captions", description="The card's title.")
    languages: tuple[str, ...] = Field(
        ("en",), min_length=1, description="Languages of the captions, as ISO 639 codes."
    )
    embed_images: Literal["never", "by_licence"] = Field(
        "never",
        description="Pictures by reference alone, or inside the files where their licence lets them be passed on.",
    )
    allow_unknown_licence: bool = Field(
        False, description="Push although a source's licence is not declared: you know that you may."
    )
    token_variable: str = Field(
        "HF_TOKEN", description="Environment variable holding the hub's token; never stored or logged."
    )
    endpoint: Address | None = Field(
        None, pattern=r"^https?://", description="Address of another hub than the public one (or HF_ENDPOINT)."
    )

    @model_validator(mode="after")
    def _repository_named(self) -> PublicationSettings:
        if self.enabled and self.repo_id is None:
            raise ValueError("`enabled` needs `repo_id: <owner>/<name>`")
        return self


class ExportSettings(Strict):
    """What the exports for other tools hold, and in what pieces."""

    with_images: bool = Field(
        False,
        description="Put the pictures in: inside Parquet and tar files, as copies beside JSON. Otherwise they are "
        "named by absolute path, for use on this machine.",
    )
    held_out: bool = Field(
        True,
        description="Samples of images that training holds out (`training.held_out_share`) get files of their own.",
    )
    shard_rows: int = Field(50_000, ge=1, description="Rows of a Parquet or tar file at most.")
    shard_megabytes: float = Field(
        500, gt=0, description="Text and pictures, before compression, from which on a new Parquet or tar file begins."
    )


class LimitSettings(Strict):
    """How much may go wrong before a stage fails."""

    unreadable_share: float = Field(
        0.05, ge=0, le=1, description="A larger share of unreadable rows fails the stage that reads them."
    )
    unreadable_rows: int = Field(10, ge=0, description="Up to this many unreadable rows never fail a stage.")
    failed_request_share: float = Field(
        0.05, ge=0, le=1, description="A larger share of failed requests fails the stage that asks."
    )
    max_caption_characters: int = Field(200_000, ge=1, description="Longer captions are quarantined.")


class SanitySettings(Strict):
    """From when on an asset check warns. A warning stops nothing."""

    truncated_share: float = Field(0.02, ge=0, le=1, description="Share of replies that the reply limit may cut.")
    prefilter_tolerance: float = Field(
        0.15,
        ge=0,
        le=1,
        description="How far the share that the pre-filter drops may lie from the paper's, either way.",
    )
    drop_share_change: float = Field(
        0.05, ge=0, le=1, description="How far the share of pairs that a check drops may move from one run to the next."
    )
    minimum_rows: int = Field(100, ge=1, description="Shares of fewer rows are shown, and not judged.")


class ExecutionSettings(Strict):
    """Where the steps of a run work, when the UI, a sensor or `dagster` launches it.

    `spare materialize` runs all steps in its own process, whatever is said here.
    """

    executor: Literal["in_process", "multiprocess", "ray"] = Field(
        "in_process",
        description="All steps in one process, which loads a model once; each in a process of its own on this machine; "
        "or each as a job on a Ray cluster (optional extra `ray`).",
    )
    max_concurrent: int | None = Field(
        None, ge=1, description="`multiprocess`: steps at once; as many as there are processors when absent."
    )
    address: str | None = Field(
        None,
        description="`ray`: address of the cluster's job server, http://host:8265; that of RAY_ADDRESS when absent.",
    )
    cpus_per_step: float = Field(1.0, ge=0, description="`ray`: processors that Ray sets aside for a step.")
    gpus_per_step: float = Field(
        0.0,
        ge=0,
        description="`ray`: GPUs that Ray sets aside for a step, whatever it does; a share lets steps share one.",
    )


_ENVIRONMENT = re.compile(r"env:([A-Za-z_][A-Za-z0-9_]*)")


def _postgres_address(value: str) -> str:
    """An address of PostgreSQL without a password, or where it stands. The message never repeats a password."""
    if _ENVIRONMENT.fullmatch(value):
        return value
    hint = "write env:NAME, with the address in that environment variable"
    try:
        parts = urlsplit(value)
    except ValueError:
        raise ValueError(f"not an address; {hint}") from None
    if parts.scheme != "postgresql" or not parts.path.strip("/"):
        raise ValueError(f"expected postgresql://user@host:5432/database, or {hint}")
    if parts.password or "password" in parts.query:
        raise ValueError(f"no password in a profile: {hint}; or leave it to PGPASSWORD or ~/.pgpass")
    return value


class InstanceSettings(Strict):
    """Where Dagster's instance keeps runs, events and schedules."""

    postgres: Annotated[str, AfterValidator(_postgres_address)] | None = Field(
        None,
        description="PostgreSQL database, one for each home (optional extra `postgres`): its address without password, "
        "or `env:NAME`, the environment variable that holds it whole. SQLite in the home when absent.",
    )

    @property
    def postgres_variable(self) -> str | None:
        """The environment variable that holds the address, where one does."""
        found = _ENVIRONMENT.fullmatch(self.postgres or "")
        return found[1] if found else None


class Settings(Strict):
    """Everything a profile decides."""

    name: str = Field(
        pattern=SOURCE_KEY, description="Name of the profile, which its home records; that of its file when absent."
    )
    description: str = Field("", description="What the profile is for, in a sentence.")
    owners: tuple[Annotated[str, Field(pattern=OWNER)], ...] = Field(
        ("team:spare",),
        description="Who answers for the assets, as the UI shows it: e-mail addresses, or teams as `team:<name>`.",
    )
    data: str | None = Field(None, description="Folder of corpora; `<home>/data` when absent. SPARE_DATA wins.")
    tables: str | None = Field(
        None,
        pattern=r"^s3://[a-z0-9][a-z0-9.-]+(/[A-Za-z0-9!_.()=-]+)*$",
        description="Where the tables are kept: `s3://bucket/prefix` (optional extra `s3`), with a copy in the home of "
        "each that was read here; in the home alone when absent. Endpoint, region and keys: the AWS_* variables.",
    )
    instance: InstanceSettings = InstanceSettings()
    sources: dict[str, SourceSettings] = Field(
        min_length=1, description="Caption sources, by key; each is a partition of the graph."
    )
    engines: dict[str, EngineSettings] = Field(
        min_length=1, description="Who answers prompts, by a name that other settings refer to."
    )
    synthesis: SynthesisSettings
    download: DownloadSettings = DownloadSettings()
    clip: ClipSettings
    quality: QualitySettings
    training: TrainingSettings = TrainingSettings()
    models: dict[str, ModelSettings] = Field(
        default_factory=dict, description="Models to train or to compare with, by model key."
    )
    benchmarks: dict[str, BenchmarkSettings] = Field(
        default_factory=dict, description="Which of the ten benchmarks models are scored on, by key."
    )
    scoring: ScoringSettings = ScoringSettings()
    analyses: AnalysesSettings = AnalysesSettings()
    review: ReviewSettings = ReviewSettings()
    publication: PublicationSettings = PublicationSettings()
    exports: ExportSettings = ExportSettings()
    execution: ExecutionSettings = ExecutionSettings()
    limits: LimitSettings = LimitSettings()
    sanity: SanitySettings = SanitySettings()

    @field_validator("sources")
    @classmethod
    def _source_keys(cls, sources: dict[str, SourceSettings]) -> dict[str, SourceSettings]:
        for key in sources:
            if not re.fullmatch(SOURCE_KEY, key) or key == RESERVED_SOURCE:
                raise ValueError(
                    f"source key {key!r}: use lower-case letters, digits, - and _, and not {RESERVED_SOURCE!r}"
                )
        return sources

    @field_validator("models")
    @classmethod
    def _model_keys(cls, models: dict[str, ModelSettings]) -> dict[str, ModelSettings]:
        for key in models:
            if not re.fullmatch(SOURCE_KEY, key):
                raise ValueError(f"model key {key!r}: use lower-case letters, digits, - and _")
        return models

    @field_validator("benchmarks")
    @classmethod
    def _benchmarks_known(cls, benchmarks: dict[str, BenchmarkSettings]) -> dict[str, BenchmarkSettings]:
        if unknown := sorted(set(benchmarks) - set(BENCHMARKS)):
            raise ValueError(f"unknown benchmark {', '.join(unknown)}: use {', '.join(BENCHMARKS)}")
        return benchmarks

    @model_validator(mode="after")
    def _models_declared(self) -> Settings:
        for key, model in self.models.items():
            if isinstance(model, TrainedModel) and model.recipe not in self.training.recipes:
                raise ValueError(
                    f"models.{key} names recipe {model.recipe!r}, which `training.recipes` does not declare"
                )
            if isinstance(model, EndpointModel) and not isinstance(self.engines.get(model.engine), OpenAIEngine):
                raise ValueError(f"models.{key} names engine {model.engine!r}: declare it in `engines`, of kind openai")
        return self

    @model_validator(mode="after")
    def _engines_declared(self) -> Settings:
        for setting, engine in (
            ("synthesis.filter_engine", self.synthesis.filter_engine),
            ("synthesis.generation_engine", self.synthesis.generation_engine),
            ("quality.verification_engine", self.quality.verification_engine),
            ("analyses.spatial_engine", self.analyses.spatial_engine),
            *(("analyses.ablations.generation", name) for name in self.analyses.ablations.generation),
            *(("analyses.ablations.filter", name) for name in self.analyses.ablations.filter),
            *(("analyses.prices.engines", name) for name in self.analyses.prices.engines),
        ):
            if engine is not None and engine not in self.engines:
                raise ValueError(f"{setting} names {engine!r}, which `engines` does not declare")
        return self


def available_profiles() -> list[str]:
    """Names of the shipped profiles."""
    return sorted(path.stem for path in PROFILES.glob("*.yaml"))


def profile_path(profile: str) -> Path:
    """File of a profile given by shipped name or by path.

    Raises SettingsError when there is none, naming what exists.
    """
    shipped = PROFILES / f"{profile}.yaml"
    if shipped.is_file():
        return shipped
    path = Path(profile).expanduser()
    if path.suffix in {".yaml", ".yml"} and path.is_file():
        return path.resolve()
    missing = f"no file {path.absolute()}; " if path.suffix in {".yaml", ".yml"} else ""
    raise SettingsError(
        f"unknown profile {profile!r}: {missing}use one of {', '.join(available_profiles())}, "
        f"or the path of a .yaml file ({PROFILE_VARIABLE} or --profile)"
    )


def profile_in_use(profile: str | None = None) -> str:
    """The profile by argument first, then by environment, then by default."""
    return profile or os.environ.get(PROFILE_VARIABLE) or "sandbox"


def load_settings(profile: str) -> Settings:
    """Settings of a profile. Raises SettingsError naming file, setting and what is wrong with it."""
    path = profile_path(profile)
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: no UTF-8, or a date that is none
        raise SettingsError(f"{path}: not readable as YAML: {error}") from error
    if not isinstance(raw, Mapping):
        raise SettingsError(f"{path}: expected a mapping of settings, found {type(raw).__name__}")
    try:
        settings = Settings.model_validate({"name": path.stem, **_beside(path.parent, raw)})
    except SettingsError as error:
        raise SettingsError(f"{path}: {error}") from error
    except ValidationError as error:
        lines = [
            f"  {'.'.join(str(part) for part in item['loc']) or 'profile'}: {_in_words(item)}"
            for item in error.errors()
        ]
        raise SettingsError("\n".join([f"{path}: settings that do not fit:", *lines])) from error
    return settings


def _in_words(error: ErrorDetails) -> str:
    """What is wrong with a setting; of a name that is none, the nearest that is one."""
    if error["type"] != "extra_forbidden":
        return error["msg"]
    known = {name for section in Strict.__subclasses__() for name in section.model_fields}
    near = difflib.get_close_matches(str(error["loc"][-1]), known)
    return "no such setting" + (f"; did you mean {' or '.join(near)}?" if near else "; docs/settings.md lists all")


def _beside(folder: Path, raw: Mapping[str, Any]) -> dict[str, Any]:
    """The profile with its relative folders made absolute, from the profile's own folder.

    A model, tokenizer or CLIP counts as a folder when there is one of this name; otherwise it is an id of the hub.
    """
    document = copy.deepcopy(dict(raw))
    training = document.get("training")
    recipes = training.get("recipes") if isinstance(training, dict) else None
    sections = [document, document.get("synthesis"), document.get("clip"), document.get("scoring")]
    sections += [*_mappings(document.get("engines")), *_mappings(recipes), *_mappings(document.get("models"))]
    shipped = {SHIPPED_CLIP, SHIPPED_VLM}
    for section in sections:
        for name in ("data", "prompts", "accelerate_config", "adapter", "model", "tokenizer", "base"):
            if isinstance(section, dict) and isinstance(value := section.get(name), str):
                try:
                    path = (folder / Path(value).expanduser()).resolve()
                    is_folder = path.is_dir()
                except (OSError, ValueError, RuntimeError) as error:  # too long, a NUL in it, an unknown ~user
                    raise SettingsError(f"setting {name}: {value[:200]!r} is no path ({error})") from error
                if name in ("data", "prompts", "accelerate_config", "adapter") or (is_folder and value not in shipped):
                    section[name] = str(path)
    return document


def _mappings(value: Any) -> list[Any]:
    return list(value.values()) if isinstance(value, dict) else []


def fingerprint(*values: Any, length: int = 12) -> str:
    """Short hash of settings or other JSON-like values, equal for equal content."""
    text = json.dumps(values, sort_keys=True, ensure_ascii=True, separators=(",", ":"), default=_plain)
    return hashlib.sha256(text.encode()).hexdigest()[:length]


_IDENTITY = {
    "kind",
    "model",
    "revision",
    "gguf_file",
    "tokenizer",
    "dtype",
    "slips",
    "asides",
    "strictness",
    "adapter",
    "min_pixels",
    "max_pixels",
}


def engine_identity(engine: EngineSettings) -> dict[str, Any]:
    """What of an engine's settings decides its replies; batch sizes, addresses and time limits do not."""
    chosen = engine.model_dump(mode="json")
    constrained = {"constrained": chosen.get("structured") not in (False, "none")}
    return {name: value for name, value in chosen.items() if name in _IDENTITY} | constrained


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    raise TypeError(f"no fingerprint of {type(value).__name__}")


class Home:
    """The folder all runs of one profile write to.

    Its layout: `tables/`, `completions/`, `images/`, `benchmark_images/`, `checkpoints/`, `exports/`, `reviews/`,
    `data/`, `dagster/`, `spare.duckdb` and a record of its profile.
    """

    def __init__(self, path: Path, settings: Settings) -> None:
        self.path = path.expanduser().resolve()
        self.settings = settings

    @property
    def tables(self) -> Path:
        """Parquet tables, `<asset>/source=<key>.parquet`."""
        return self.path / "tables"

    @property
    def completions(self) -> Path:
        """The completion ledger, `<task>/<source>/`."""
        return self.path / "completions"

    @property
    def images(self) -> Path:
        """Downloaded images, named by hash."""
        return self.path / "images"

    @property
    def checkpoints(self) -> Path:
        """Fine-tuned models, `<model key>/<fingerprint>/`."""
        return self.path / "checkpoints"

    @property
    def benchmark_images(self) -> Path:
        """Pictures that benchmark files hold, `<benchmark>/<hash>.<format>`."""
        return self.path / "benchmark_images"

    @property
    def exports(self) -> Path:
        """What is made to be handed on: the leaderboard, the comparison page."""
        return self.path / "exports"

    @property
    def reviews(self) -> Path:
        """Verdict files of reviewers, as the review page downloads them."""
        return self.path / Path(self.settings.review.folder).expanduser()

    @property
    def dagster(self) -> Path:
        """State of the Dagster instance."""
        return self.path / "dagster"

    @property
    def catalog(self) -> Path:
        """DuckDB file of views over the tables."""
        return self.path / "spare.duckdb"

    @property
    def scratch(self) -> Path:
        """Temporary files of running stages, on the same disk as the tables."""
        return self.path / "scratch"

    @property
    def data(self) -> Path:
        """Folder that relative corpus paths start from."""
        if variable := os.environ.get(DATA_VARIABLE):
            return Path(variable).expanduser().resolve()
        if self.settings.data:
            return Path(self.settings.data).expanduser().resolve()
        return self.path / "data"

    def resolve(self, path: str) -> Path:
        """Absolute form of a path of the settings: relative ones start from the data folder."""
        return self.data / Path(path).expanduser()

    def check(self) -> Home:
        """Raises SettingsError when the folder is the home of another profile. Writes nothing."""
        record = self.path / HOME_RECORD
        try:
            if self.path.exists() and not self.path.is_dir():
                raise SettingsError(f"{self.path} is a file: choose a folder with --home or {HOME_VARIABLE}")
            owner = json.loads(record.read_text(encoding="utf-8"))["profile"] if record.exists() else None
        except SettingsError:
            raise
        except OSError as error:
            raise SettingsError(f"{self.path}: cannot be read as a home: {error.strerror}; see --home") from error
        except (ValueError, KeyError, TypeError) as error:
            raise SettingsError(f"{record}: damaged ({error!r}); restore it or choose another home") from error
        if owner not in (None, self.settings.name):
            raise SettingsError(
                f"{self.path} is the home of profile {owner!r}, not of {self.settings.name!r}: choose another "
                f"folder with --home or {HOME_VARIABLE}, or open it with --profile {owner}"
            )
        return self

    def claim(self) -> Home:
        """Create the home and record its profile, or check that it belongs to it.

        Raises SettingsError when another profile owns it or it cannot be written.
        """
        self.check()
        record = self.path / HOME_RECORD
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            if not record.exists():
                write_whole(record, json.dumps({"profile": self.settings.name}).encode() + b"\n")
        except OSError as error:
            raise SettingsError(f"{self.path}: cannot be used as a home: {error}") from error
        return self


def open_home(profile: str | None = None, home: str | Path | None = None) -> Home:
    """The home of a profile, by arguments first, then by environment, then by default.

    Exports both choices to the environment, absolute, so that every child process sees the same ones.
    """
    profile = profile_in_use(profile)
    settings = load_settings(profile)
    chosen = home or os.environ.get(HOME_VARIABLE) or Path(".spare") / settings.name
    opened = Home(Path(chosen), settings).check()
    path = profile_path(profile)
    os.environ[PROFILE_VARIABLE] = profile if path.parent == PROFILES else str(path)
    os.environ[HOME_VARIABLE] = str(opened.path)
    if os.environ.get(DATA_VARIABLE):
        os.environ[DATA_VARIABLE] = str(opened.data)
    return opened
