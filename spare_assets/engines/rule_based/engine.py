"""The rule-based analyst behind the chat interface: which tasks it knows and what its replies look like.

How captions are read and pairs judged is in the modules beside this one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Generator, Iterable
from functools import cache
from pathlib import Path
from time import thread_time
from typing import Literal

from spare_assets.engines.chat import ChatReply, ChatRequest, EngineError
from spare_assets.engines.rule_based.judge import asks_about_space
from spare_assets.engines.rule_based.questions import Pair, write_pairs
from spare_assets.engines.rule_based.slips import add_asides, add_slips
from spare_assets.engines.rule_based.strictness import names_direction, names_relation
from spare_assets.relations import taxonomy


class RuleBasedEngine:
    """A chat engine without a model: the system message names the task, the user message is the text.

    Tasks: `judge_caption` and `judge_pair` answer "yes" or "no", `write_pairs` a JSON list of question and answer,
    `judge_pairs` a JSON object of flags. A text that cannot be read gets "no" or an empty list. `slips` in [0, 1] is
    the share of captions whose pairs get mistakes added, for trying out the checks; `asides` that of captions that
    get true pairs added which are not about space. `strictness` is what counts as spatial: for `lenient` any keyword of
    the taxonomy, for `standard` what the grammar reads, for `strict` only that of it which names a direction.

    A reply's tokens are words, and its `seconds` those the processor worked: what else runs does not show in them.
    """

    def __init__(
        self,
        slips: float = 0.0,
        asides: float = 0.0,
        strictness: Literal["lenient", "standard", "strict"] = "standard",
    ) -> None:
        for name, share in (("slips", slips), ("asides", asides)):
            if not 0 <= share <= 1:
                raise ValueError(f"{name} is a share between 0 and 1, not {share}")
        self._slips, self._asides, self._strictness = slips, asides, strictness
        self._tasks: dict[str, Callable[[str], str]] = {
            "judge_caption": self._judge_caption,
            "write_pairs": self._write_pairs,
            "judge_pair": self._judge_pair,
            "judge_pairs": self._judge_pairs,
        }

    @property
    def fingerprint(self) -> str:
        """Changes with the grammar's source and with the settings."""
        strictness = "" if self._strictness == "standard" else f":{self._strictness}"
        return f"rule-based:{_grammar_version()}:slips={self._slips:g}:asides={self._asides:g}{strictness}"

    def complete(self, requests: Iterable[tuple[str, ChatRequest]]) -> Generator[ChatReply, None, None]:
        """One reply per request, in order, each made when it is asked for. EngineError for an unknown task."""
        for key, request in requests:
            if len(request.messages) != 2 or request.messages[0].text not in self._tasks:
                raise EngineError(
                    f"the rule-based analyst knows the tasks {', '.join(self._tasks)}, each as a system message "
                    "followed by the text as a user message; for prompts in plain language declare another engine"
                )
            task, text = (message.text for message in request.messages)
            started = thread_time()
            reply = self._tasks[task](text)
            yield ChatReply(
                key,
                reply,
                "stop",
                prompt_tokens=len(task.split()) + len(text.split()),
                completion_tokens=len(reply.split()),
                seconds=thread_time() - started,
            )

    def close(self) -> None:
        """Nothing is held."""

    def _write_pairs(self, caption: str) -> str:
        pairs = add_asides(caption, add_slips(caption, self._read(caption), self._slips), self._asides)
        return json.dumps([pair._asdict() for pair in pairs], ensure_ascii=False)

    def _judge_caption(self, caption: str) -> str:
        spatial = names_relation(caption) if self._strictness == "lenient" else bool(self._read(caption))
        return "yes" if spatial else "no"

    def _judge_pair(self, text: str) -> str:
        return "yes" if self._spatial(_parsed(text)) else "no"

    def _judge_pairs(self, text: str) -> str:
        pairs = _parsed(text)
        return json.dumps({"spatial": [self._spatial(pair) for pair in pairs] if isinstance(pairs, list) else []})

    def _read(self, caption: str) -> list[Pair]:
        pairs = write_pairs(caption)
        if self._strictness == "strict":
            return [pair for pair in pairs if names_direction(f"{pair.question} {pair.answer}")]
        return pairs

    def _spatial(self, pair: object) -> bool:
        if not isinstance(pair, dict):
            return False
        question = pair.get("question")
        if not isinstance(question, str):
            return False
        match self._strictness:
            case "lenient":
                return names_relation(question) or asks_about_space(question)
            case "strict":
                return asks_about_space(question) and names_direction(f"{question} {pair.get('answer')}")
            case _:
                return asks_about_space(question)


def _parsed(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


@cache
def _grammar_version() -> str:
    """Hash of the source files that decide a reply: those beside this one, and the taxonomy."""
    digest = hashlib.sha256()
    for path in [*sorted(Path(__file__).parent.glob("*.py")), Path(taxonomy.__file__)]:
        digest.update(path.name.encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]
