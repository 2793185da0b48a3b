"""Videos packed into shards: plain tar files in WebDataset's layout, and an index with their places."""
