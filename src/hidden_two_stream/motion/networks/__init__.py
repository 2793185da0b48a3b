"""The MotionNet family: networks that turn frames into flow."""
