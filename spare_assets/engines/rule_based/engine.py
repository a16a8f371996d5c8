"""The rule-based analyst behind the chat interface: which tasks it knows and what its replies look like.

How captions are read and pairs judged is in the modules beside this one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Generator, Iterable
from functools import cache
from pathlib import Path
from time import perf_counter

from spare_assets.engines.chat import ChatReply, ChatRequest, EngineError
from spare_assets.engines.rule_based.judge import asks_about_space
from spare_assets.engines.rule_based.questions import write_pairs
from spare_assets.engines.rule_based.slips import add_asides, add_slips
from spare_assets.relations import taxonomy


class RuleBasedEngine:
    """A chat engine without a model: the system message names the task, the user message is the text.

    Tasks: `judge_caption` and `judge_pair` answer "yes" or "no", `write_pairs` a JSON list of question and answer,
    `judge_pairs` a JSON object of flags. A text that cannot be read gets "no" or an empty list. `slips` in [0, 1] is
    the share of captions whose pairs get mistakes added, for trying out the checks; `asides` that of captions that
    get true pairs added which are not about space.
    """

    def __init__(self, slips: float = 0.0, asides: float = 0.0) -> None:
        for name, share in (("slips", slips), ("asides", asides)):
            if not 0 <= share <= 1:
                raise ValueError(f"{name} is a share between 0 and 1, not {share}")
        self._slips, self._asides = slips, asides
        self._tasks: dict[str, Callable[[str], str]] = {
            "judge_caption": _judge_caption,
            "write_pairs": self._write_pairs,
            "judge_pair": _judge_pair,
            "judge_pairs": _judge_pairs,
        }

    @property
    def fingerprint(self) -> str:
        """Changes with the grammar's source and with the settings."""
        return f"rule-based:{_grammar_version()}:slips={self._slips:g}:asides={self._asides:g}"

    def complete(self, requests: Iterable[tuple[str, ChatRequest]]) -> Generator[ChatReply, None, None]:
        """One reply per request, in order, each made when it is asked for. EngineError for an unknown task."""
        for key, request in requests:
            if len(request.messages) != 2 or request.messages[0].text not in self._tasks:
                raise EngineError(
                    f"the rule-based analyst knows the tasks {', '.join(self._tasks)}, each as a system message "
                    "followed by the text as a user message; for prompts in plain language declare another engine"
                )
            task, text = (message.text for message in request.messages)
            started = perf_counter()
            reply = self._tasks[task](text)
            yield ChatReply(
                key,
                reply,
                "stop",
                prompt_tokens=len(task.split()) + len(text.split()),
                completion_tokens=len(reply.split()),
                seconds=perf_counter() - started,
            )

    def close(self) -> None:
        """Nothing is held."""

    def _write_pairs(self, caption: str) -> str:
        pairs = add_asides(caption, add_slips(caption, write_pairs(caption), self._slips), self._asides)
        return json.dumps([pair._asdict() for pair in pairs], ensure_ascii=False)


def _judge_caption(caption: str) -> str:
    return "yes" if write_pairs(caption) else "no"


def _judge_pair(text: str) -> str:
    return "yes" if _spatial(_parsed(text)) else "no"


def _judge_pairs(text: str) -> str:
    pairs = _parsed(text)
    return json.dumps({"spatial": [_spatial(pair) for pair in pairs] if isinstance(pairs, list) else []})


def _parsed(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _spatial(pair: object) -> bool:
    if not isinstance(pair, dict):
        return False
    question = pair.get("question")
    return isinstance(question, str) and asks_about_space(question)


@cache
def _grammar_version() -> str:
    """Hash of the source files that decide a reply: those beside this one, and the taxonomy."""
    digest = hashlib.sha256()
    for path in [*sorted(Path(__file__).parent.glob("*.py")), Path(taxonomy.__file__)]:
        digest.update(path.name.encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]
