"""Frames to flow: MotionNet and what belongs to motion fields (losses, metrics, files, colours, rivals)."""
