"""What runs leave on disk: table schemas, atomic Parquet tables, the completion ledger, the DuckDB catalog.

Nothing here knows Dagster, models or stages.
"""
