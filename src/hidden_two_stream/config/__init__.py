"""Recipes: their schema, loading and validation."""
