"""From frames to flow: networks, losses, estimators, metrics, files and colors."""
