"""Room 4: learning. Stages are data; there is one loop."""
