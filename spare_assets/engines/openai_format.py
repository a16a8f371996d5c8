"""Chat requests in the OpenAI message form, and choices read back from token log-probabilities.

Shared by the engines that speak this form, over HTTP or in process. How requests travel is not known here.
"""

from __future__ import annotations

import base64
import io
import math
import re
from collections.abc import Iterable, Sequence
from typing import Any

from PIL import Image

from spare_assets.captions import picture
from spare_assets.engines.chat import ChatImage, ChatRequest

TOP_LOGPROBS = 20
MAX_IMAGE_BYTES = 20_000_000
_SENT_AS_IS = {"JPEG", "PNG", "WEBP", "GIF"}
_ORIENTATION = 0x0112
# What tokenizers and models put around a word: byte-level and sentencepiece space marks, quotes, emphasis.
_AROUND_WORDS = " \t\r\n\u0120\u010a\u2581\"'`*.,:;!"


# Forms of the control tokens of today's chat models: <|im_end|>, <start_of_turn>, </s>, [INST].
_CONTROL = re.compile(r"<(?=[|\uff5c][^<>]{1,60}[|\uff5c]>|/?[a-z_]{1,40}>)|\[(?=/?[A-Z_]{2,40}\])")
_BREAK = "\u200b"


class UnreadableImageError(ValueError):
    """An image of a request cannot be sent; the message names the file and why."""


def open_upright(image: ChatImage) -> Image.Image:
    """The picture as every model is shown it. Raises UnreadableImageError."""
    try:
        return picture.open_upright(image.path)
    except picture.PictureError as error:
        raise UnreadableImageError(f"image {image.path}: {error}") from error


def data_url(image: ChatImage) -> str:
    """The image as a base64 `data:` URL.

    The file's own bytes where servers know the format; a PNG where they don't, where EXIF turns it, and for 16 bits.
    Raises UnreadableImageError.
    """
    try:
        with Image.open(image.path, formats=picture.FORMATS) as opened:
            plain = opened.getexif().get(_ORIENTATION, 1) == 1 and not opened.mode.startswith("I")
            known = plain and opened.format in _SENT_AS_IS
            mime = opened.get_format_mimetype() if known else "image/png"
        content = image.path.read_bytes() if known else _png(open_upright(image))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        if isinstance(error, UnreadableImageError):
            raise
        raise UnreadableImageError(f"image {image.path}: {error}") from error
    if len(content) > MAX_IMAGE_BYTES:
        raise UnreadableImageError(f"image {image.path}: {len(content):,} bytes, more than {MAX_IMAGE_BYTES:,}")
    return f"data:{mime};base64,{base64.b64encode(content).decode('ascii')}"


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def disarmed(text: str) -> str:
    """The text with everything that looks like a control token broken by a zero-width space.

    A server tokenizes on its own and would obey such tokens; `rearmed` takes the break out of its reply again.
    """
    if "<" not in text and "[" not in text:
        return text
    return _CONTROL.sub(lambda match: match.group() + _BREAK, text)


def rearmed(text: str, request: ChatRequest) -> str:
    """A reply as it would read had nothing been broken in its request."""
    if _BREAK in text and any(disarmed(message.text) != message.text for message in request.messages):
        return text.replace("<" + _BREAK, "<").replace("[" + _BREAK, "[")
    return text


def openai_messages(request: ChatRequest) -> list[dict[str, Any]]:
    """Messages of a request, disarmed, images before the text of their turn. Raises UnreadableImageError."""
    messages: list[dict[str, Any]] = []
    for message in request.messages:
        content: str | list[dict[str, Any]] = disarmed(message.text)
        if message.images:
            pictures = [{"type": "image_url", "image_url": {"url": data_url(image)}} for image in message.images]
            content = [*pictures, {"type": "text", "text": content}]
        messages.append({"role": message.role, "content": content})
    return messages


def choice_token_limit(request: ChatRequest) -> int:
    """Tokens a reply to a request with `choices` may take: its words and one more."""
    return min(request.max_new_tokens, 1 + max(len(choice.split()) for choice in request.choices))


def folded(text: str) -> str:
    """A token or word without case and without what surrounds it, for comparison with a choice."""
    return text.strip(_AROUND_WORDS).casefold()


def read_choice(
    text: str, choices: Sequence[str], first_token: Iterable[tuple[str, float]] | None
) -> tuple[str | None, float | None]:
    """The choice a reply stands for, and the probability of the first choice among them.

    `first_token` are likely first tokens with log-probabilities. All variants of a choice in case and space
    count together, and so do tokens that begin only that choice. Without usable log-probabilities the choice
    is read from the text and the probability is None; the choice is None where the reply is none of them.
    """
    mass = dict.fromkeys(choices, 0.0)
    for token, logprob in first_token or ():
        word = folded(token)
        begun = [choice for choice in choices if word and folded(choice).startswith(word)]
        exact = [choice for choice in begun if folded(choice) == word]
        if len(owners := exact or begun) == 1 and not math.isnan(logprob):
            mass[owners[0]] += math.exp(min(logprob, 0.0))
    if (total := sum(mass.values())) > 0:
        return max(mass, key=lambda choice: mass[choice]), mass[choices[0]] / total
    reply = folded(text)
    for choice in sorted(choices, key=len, reverse=True):
        word = folded(choice)
        if reply == word or (reply.startswith(word) and not reply[len(word)].isalnum()):
            return choice, None
    return None, None
