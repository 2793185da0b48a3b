"""Flow estimators to compare MotionNet with."""
