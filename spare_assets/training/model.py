"""The model to be trained: checked for, loaded, made trainable as its recipe says, and stored when it is done.

Number formats. In full fine-tuning the weights are float32 and only the forward and backward pass run in bfloat16
(autocast, for the trainer to switch on). Weights in bfloat16 themselves would not learn: a step of the paper's 3e-5
is less than half the distance of neighbouring bfloat16 numbers wherever a weight exceeds 0.008, and is rounded away.
That costs 2 bytes a weight more for it and its gradient each, beside which the 8-bit optimizer's states save 6. For
LoRA the frozen base is loaded in the recipe's format, since nothing is added to it, and the adapters are float32.
What is stored is rounded once, to the recipe's format.

Steps, batches and losses are the training program's. Weights are read from and written as safetensors alone.
"""

from __future__ import annotations

import copy
import importlib
import re
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from spare_assets.clip.torchvision_shim import install
from spare_assets.engines.chat import EngineError
from spare_assets.engines.weights import find_model
from spare_assets.settings import RecipeSettings
from spare_assets.training.order import TrainingError

VISION_TOWER = r".*\bvisual\b.*"
"""Full names of the vision tower's modules, its merger included, as a regular expression."""
_LIGER = "liger_kernel.transformers"
_ADAPTER_CARD = "README.md"


def check_recipe(recipe: RecipeSettings) -> None:
    """See that this machine has what the recipe demands. Raises TrainingError, before anything is loaded."""
    import torch

    has_gpu = torch.cuda.is_available()
    if recipe.require_gpu and not has_gpu:
        raise TrainingError(
            f"the recipe demands a GPU (require_gpu) and torch {torch.__version__} sees none: look at nvidia-smi, "
            "CUDA_VISIBLE_DEVICES and whether this torch is a CUDA build, or train a recipe made for the CPU"
        )
    if recipe.dtype == "bfloat16" and has_gpu and not torch.cuda.is_bf16_supported(including_emulation=False):
        raise TrainingError(f"{torch.cuda.get_device_name()} does not compute in bfloat16: set dtype: float32")
    if recipe.attention == "flash_attention_2":
        if not _flash_attention_runs():
            raise TrainingError(
                "attention: flash_attention_2 needs a GPU and the package flash-attn (>= 2.3.3): pip install "
                "flash-attn, or set attention: auto"
            )
        if recipe.dtype != "bfloat16":
            raise TrainingError("attention: flash_attention_2 computes in bfloat16 only: set dtype: bfloat16")
    if recipe.liger and not _liger_runs():
        raise TrainingError(
            "liger: true needs a GPU and the package liger-kernel: pip install liger-kernel, or leave liger out"
        )
    if recipe.optimizer == "adamw_8bit":
        _installed("bitsandbytes", "optimizer: adamw_8bit", "optimizer: adamw")
    if recipe.method == "lora":
        _installed("peft", "method: lora", "method: full")
        try:
            re.compile(recipe.lora.targets)
        except re.error as error:
            raise TrainingError(f"lora.targets is no regular expression ({error}): {recipe.lora.targets!r}") from error
    if recipe.accelerate_config is not None and not Path(recipe.accelerate_config).expanduser().is_file():
        raise TrainingError(
            f"accelerate_config: there is no file {Path(recipe.accelerate_config).expanduser().absolute()}: make one "
            "with `accelerate config`, or correct the path"
        )


def optimizer_name(recipe: RecipeSettings) -> str:
    """The recipe's optimizer as `TrainingArguments.optim` calls it."""
    return {"adamw": "adamw_torch", "adamw_8bit": "adamw_bnb_8bit"}[recipe.optimizer]


def load_for_training(base: Path, recipe: RecipeSettings, seed: int) -> tuple[Any, Any]:
    """The model in training mode, and its processor set to the recipe's image resolution.

    With `full` every weight is trainable: vision tower, merger, language model. With `lora` the adapters alone are,
    their first values drawn by `seed`. Dropout is on attention for the one and on adapters for the other. Raises
    TrainingError where the folder holds no vision-language model in safetensors, or one that the recipe does not fit.
    """
    install()
    import torch
    from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor

    if not base.is_dir():
        raise TrainingError(f"base model: there is no folder {base}")
    try:
        find_model(str(base), setting="base model")
        config = AutoConfig.from_pretrained(base, local_files_only=True, trust_remote_code=False)
        if recipe.method == "full":
            _set_dropout(config, recipe.dropout)
        model, loading = AutoModelForImageTextToText.from_pretrained(
            base,
            config=config,
            dtype=torch.float32 if recipe.method == "full" else getattr(torch, recipe.dtype),
            attn_implementation=attention_implementation(recipe),
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
        processor = AutoProcessor.from_pretrained(base, local_files_only=True, trust_remote_code=False)
    except TrainingError:
        raise
    except EngineError as error:
        raise TrainingError(str(error)) from error
    except Exception as error:  # damaged files, unknown architectures: the libraries raise what they will
        raise TrainingError(
            f"base model {base} does not load as a vision-language model ({str(error) or type(error).__name__})"
        ) from error
    if absent := sorted(loading["missing_keys"]):
        raise TrainingError(
            f"base model {base} lacks {len(absent)} weights that its config.json asks for, among them {absent[0]}: "
            "fetch it again"
        )
    if getattr(processor, "image_processor", None) is None:
        raise TrainingError(f"base model {base} has no image processor (preprocessor_config.json): fetch it again")
    processor.image_processor.size = {"shortest_edge": recipe.min_pixels, "longest_edge": recipe.max_pixels}
    if recipe.liger or (recipe.liger is None and _liger_runs()):
        _use_liger(model, demanded=bool(recipe.liger))
    model.config.get_text_config().use_cache = False
    if recipe.gradient_checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    if recipe.method == "lora":
        model = _with_adapters(model, recipe, seed)
    else:
        model.requires_grad_(True)
    model.train()
    return model, processor


def attention_implementation(recipe: RecipeSettings) -> str:
    """The attention code that the recipe comes to on this machine."""
    if recipe.attention != "auto":
        return recipe.attention
    return "flash_attention_2" if recipe.dtype == "bfloat16" and _flash_attention_runs() else "sdpa"


def save_trained(
    model: Any,
    processor: Any,
    folder: Path,
    recipe: RecipeSettings,
    base: Path,
    base_name: str,
    state: Mapping[str, Any] | None = None,
) -> None:
    """Write a trained model into a folder: safetensors, configuration, processor and chat template.

    `model` is as it was loaded, unwrapped; `state` its weights, where they are gathered from several processes. Of
    LoRA the adapter alone is stored, belonging to `base_name` (a hub id, or what readers should know the base as),
    unless the recipe merges: then the whole model is, and `model` is used up. Dropout and what else training set in
    the configuration are the base's again.
    """
    folder.mkdir(parents=True, exist_ok=True)
    processor.save_pretrained(folder)
    if recipe.stores_adapter:
        adapter = model.peft_config["default"]
        adapter.base_model_name_or_path = base_name
        adapter.revision = recipe.revision
        # Embeddings are not trained, and to find that out peft would ask the hub.
        model.save_pretrained(folder, state_dict=state, save_embedding_layers=False)
        # The library's own card; what there is to say about the model is said elsewhere.
        (folder / _ADAPTER_CARD).unlink(missing_ok=True)
        return
    if recipe.method == "lora":
        model, state = model.merge_and_unload(safe_merge=True), None
    _save_whole(model, folder, recipe, base, state)


def _save_whole(model: Any, folder: Path, recipe: RecipeSettings, base: Path, state: Mapping[str, Any] | None) -> None:
    import torch
    from transformers import AutoConfig

    dtype = getattr(torch, recipe.dtype)
    weights = model.state_dict() if state is None else state
    model.save_pretrained(
        folder,
        state_dict={name: value.to(dtype) if value.is_floating_point() else value for name, value in weights.items()},
    )
    released = AutoConfig.from_pretrained(base, local_files_only=True, trust_remote_code=False)
    config = copy.deepcopy(model.config)
    text, original = config.get_text_config(), released.get_text_config()
    for name in ("use_cache", "attention_dropout"):
        if hasattr(original, name):
            setattr(text, name, getattr(original, name))
    for section in (config, *(getattr(config, name) for name in config.sub_configs)):
        section.dtype = dtype
    config.save_pretrained(folder)


def _set_dropout(config: Any, dropout: float) -> None:
    text = config.get_text_config()
    if hasattr(text, "attention_dropout"):
        text.attention_dropout = dropout
    elif dropout:
        raise TrainingError(
            f"dropout: {config.model_type} has no attention dropout to set to {dropout}: set it to 0, or method: lora"
        )


def _with_adapters(model: Any, recipe: RecipeSettings, seed: int) -> Any:
    import torch
    from peft import LoraConfig, get_peft_model

    settings = LoraConfig(
        r=recipe.lora.rank,
        lora_alpha=recipe.lora.alpha,
        lora_dropout=recipe.dropout,
        target_modules=recipe.lora.targets,
        exclude_modules=VISION_TOWER,
        bias="none",
        task_type="CAUSAL_LM",
    )
    torch.manual_seed(seed)
    try:
        return get_peft_model(model, settings)
    except ValueError as error:
        raise TrainingError(
            f"lora.targets {recipe.lora.targets!r} fits no module that can have an adapter ({error}); the vision "
            "tower gets none"
        ) from error


def _use_liger(model: Any, demanded: bool) -> None:
    name = f"apply_liger_kernel_to_{model.config.model_type}"
    apply = getattr(importlib.import_module(_LIGER), name, None)
    if apply is not None:
        apply(model=model)
    elif demanded:
        raise TrainingError(f"liger: the installed liger-kernel has no kernels for {model.config.model_type}")


def _liger_runs() -> bool:
    import torch

    return torch.cuda.is_available() and find_spec("liger_kernel") is not None


def _flash_attention_runs() -> bool:
    import torch
    from transformers.utils import is_flash_attn_2_available

    return torch.cuda.is_available() and bool(is_flash_attn_2_available())


def _installed(package: str, setting: str, instead: str) -> None:
    if find_spec(package) is None:
        raise TrainingError(f"{setting} needs the package {package}: pip install {package}, or set {instead}")
