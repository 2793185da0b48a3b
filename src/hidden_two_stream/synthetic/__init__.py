"""Generated video with exact flow."""
