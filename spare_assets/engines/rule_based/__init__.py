"""The rule-based analyst: a chat engine that answers by a grammar over the relation taxonomy, without a model."""

from spare_assets.engines.rule_based.engine import RuleBasedEngine

__all__ = ["RuleBasedEngine"]
