"""What is Dagster's and belongs to no stage: partitions, resources, publishing, run hygiene, instance files."""
