"""What is handed on: the dataset's card and Croissant metadata, exports for other tools, publication on a hub."""
