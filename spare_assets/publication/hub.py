"""Pushing the dataset's folder to a Hugging Face hub, and the reasons not to.

The token comes from the environment and goes into requests alone: no message, table or log holds it.
"""

from __future__ import annotations

import os
from pathlib import Path

from spare_assets.publication.facts import CardFacts
from spare_assets.settings import PublicationSettings


class PublicationError(RuntimeError):
    """The dataset is not pushed; the message says why and what to do."""


def refusal(facts: CardFacts, settings: PublicationSettings) -> str | None:
    """Why this dataset must not be published, or None."""
    if facts.limits:
        trials = ", ".join(f"{key} ({count:,} captions)" for key, count in facts.limits.items())
        return f"the dataset holds trials of {trials}: materialize these sources in full, and what follows from them"
    if facts.undeclared and not settings.allow_unknown_licence:
        return (
            f"no licence is declared for {', '.join(facts.undeclared)}: set `licence` of the source, or "
            "`publication.allow_unknown_licence` if you know that you may publish it"
        )
    if not facts.totals["samples"]:
        return "the dataset is empty"
    return None


def hub_token(settings: PublicationSettings) -> str:
    """The hub's token. Raises PublicationError where the environment has none."""
    token = os.environ.get(settings.token_variable, "").strip()
    if not token:
        raise PublicationError(
            f"no token in the environment variable {settings.token_variable}: set it to one that may write to "
            f"{settings.repo_id} (`publication.token_variable` names the variable)"
        )
    return token


def push(folder: Path, facts: CardFacts, settings: PublicationSettings) -> str:
    """Push a folder; the commit's id. Readers see the dataset of before or this one: it is one commit, which also
    removes the data files that are no longer there.

    Raises PublicationError, with whatever the hub answered, without the token.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

    assert settings.repo_id is not None
    token = hub_token(settings)
    api = HfApi(endpoint=settings.endpoint, token=token, library_name="spare-assets")
    try:
        api.create_repo(settings.repo_id, repo_type="dataset", private=settings.private, exist_ok=True)
        files = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
        there = api.list_repo_files(settings.repo_id, repo_type="dataset")
        superseded = [name for name in there if name.startswith("data/") and name not in files]
        commit = api.create_commit(
            settings.repo_id,
            repo_type="dataset",
            operations=[
                *(CommitOperationAdd(name, path) for name, path in files.items()),
                *(CommitOperationDelete(name) for name in superseded),
            ],
            commit_message=f"SpaRE dataset, content version {facts.version}",
        )
    # The client and what lies below it raise errors of many kinds; none may carry the token on.
    except Exception as error:
        told = f"{type(error).__name__}: {error}".replace(token, "***")
        raise PublicationError(f"{settings.repo_id} was not pushed: {told}") from None
    return str(commit.oid)
