"""The five checks on generated pairs, one module each, and the drop ledger (paper 3.3)."""
