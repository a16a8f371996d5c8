"""`spare settings`: a profile with its defaults filled in, or the page or schema of all settings."""

from __future__ import annotations

import json

import yaml

from spare_assets.settings import load_settings, profile_in_use
from spare_assets.settings_page import profile_schema, settings_page


def settings_text(profile: str | None, form: str) -> str:
    """What is printed: `yaml` and `json` are a profile's values, `markdown` and `json-schema` are about all.

    The YAML is itself a profile, equal to the one it was made of. Raises SettingsError as `load_settings` does.
    """
    if form == "markdown":
        return settings_page()
    if form == "json-schema":
        return json.dumps(profile_schema(), indent=2, ensure_ascii=False) + "\n"
    values = load_settings(profile_in_use(profile)).model_dump(mode="json")
    if form == "json":
        return json.dumps(values, indent=2, ensure_ascii=False) + "\n"
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=110)
