"""Prediction, test protocols, and the hidden motion of videos."""
