"""What the graph needs of an engine: is this caption spatial; write the pairs; is this pair spatial.

An analyst turns each of these into a chat request. A language model gets the prompt files; the rule-based engine gets
the bare task and text. Replies have the same form from both.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from spare_assets.engines.chat import ChatEngine, ChatMessage, ChatRequest
from spare_assets.settings import RuleBasedEngine, Settings
from spare_assets.synthesis.prompts import Prompts
from spare_assets.synthesis.reply_parsing import flags_schema, pairs_schema

YES_NO = ("yes", "no")
_WORD_TOKENS = 4
_FLAG_TOKENS = 8


class Analyst(Protocol):
    """Words the questions of the graph for one engine."""

    @property
    def engine(self) -> ChatEngine:
        """The engine asked."""

    def judge_caption(self, caption: str) -> ChatRequest:
        """Is the caption explicitly spatial?"""

    def write_pairs(self, caption: str) -> ChatRequest:
        """Write question-answer pairs."""

    def judge_pair(self, question: str, answer: str) -> ChatRequest:
        """Does the pair ask about space?"""

    def judge_pairs(self, pairs: Sequence[tuple[str, str]]) -> ChatRequest:
        """Which pairs of a sample ask about space?"""


@dataclass(frozen=True, slots=True)
class LanguageModelAnalyst:
    """Asks a language model with the prompt files; the instruction first, the data last."""

    engine: ChatEngine
    prompts: Prompts
    max_new_tokens: int
    max_pairs: int

    def judge_caption(self, caption: str) -> ChatRequest:
        """Yes or no."""
        return _one_word(self.prompts["judge_caption"].fill({"caption": caption}))

    def write_pairs(self, caption: str) -> ChatRequest:
        """A JSON list of pairs."""
        text = self.prompts["write_pairs"].fill({"caption": caption})
        return ChatRequest((ChatMessage("user", text),), self.max_new_tokens, schema=pairs_schema(self.max_pairs))

    def judge_pair(self, question: str, answer: str) -> ChatRequest:
        """Yes or no."""
        return _one_word(self.prompts["judge_pair"].fill({"question": question, "answer": answer}))

    def judge_pairs(self, pairs: Sequence[tuple[str, str]]) -> ChatRequest:
        """A JSON object of one flag per pair."""
        listed = "\n".join(
            f"{number}. Question: {question}\n   Answer: {answer}"
            for number, (question, answer) in enumerate(pairs, start=1)
        )
        return ChatRequest(
            (ChatMessage("user", self.prompts["judge_pairs"].fill({"pairs": listed})),),
            32 + _FLAG_TOKENS * len(pairs),
            schema=flags_schema(len(pairs)),
        )


@dataclass(frozen=True, slots=True)
class RuleBasedAnalyst:
    """Hands task and text to the rule-based engine: the task as the system message, the text as the user's."""

    engine: ChatEngine

    def judge_caption(self, caption: str) -> ChatRequest:
        """Yes or no."""
        return _bare("judge_caption", caption)

    def write_pairs(self, caption: str) -> ChatRequest:
        """A JSON list of pairs."""
        return _bare("write_pairs", caption)

    def judge_pair(self, question: str, answer: str) -> ChatRequest:
        """Yes or no."""
        return _bare("judge_pair", json.dumps({"question": question, "answer": answer}))

    def judge_pairs(self, pairs: Sequence[tuple[str, str]]) -> ChatRequest:
        """A JSON object of one flag per pair."""
        return _bare("judge_pairs", json.dumps([{"question": q, "answer": a} for q, a in pairs]))


def analyst(name: str, engine: ChatEngine, settings: Settings, prompts: Prompts) -> Analyst:
    """The analyst that fits the engine declared under this name."""
    if isinstance(settings.engines[name], RuleBasedEngine):
        return RuleBasedAnalyst(engine)
    synthesis = settings.synthesis
    return LanguageModelAnalyst(engine, prompts, synthesis.max_new_tokens, synthesis.max_pairs)


def _one_word(text: str) -> ChatRequest:
    return ChatRequest((ChatMessage("user", text),), _WORD_TOKENS, choices=YES_NO)


def _bare(task: str, text: str) -> ChatRequest:
    return ChatRequest((ChatMessage("system", task), ChatMessage("user", text)), max_new_tokens=0)
