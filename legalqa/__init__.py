"""What two or more stages share. Nothing here imports torch when it is imported."""
