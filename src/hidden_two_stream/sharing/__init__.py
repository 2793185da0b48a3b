"""Models shared: what of a run is made public, its model card, and the push to the hub."""
