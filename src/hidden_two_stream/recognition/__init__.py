"""Room 3: flow and RGB in, class scores out."""
