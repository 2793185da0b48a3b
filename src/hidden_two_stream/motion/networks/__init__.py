"""The MotionNet family."""
