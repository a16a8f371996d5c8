"""The `spare` command: a thin face over the graph for terminals, cron and clusters."""
