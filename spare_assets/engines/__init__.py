"""Who answers prompts: chat engines (transformers, vllm, OpenAI-compatible servers) and the rule-based analyst.

Prompt wording, parsing of replies and stages do not belong here. Model libraries are imported inside functions.
"""
