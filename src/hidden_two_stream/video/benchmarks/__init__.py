"""The data sets of the field by name: their own lists, read as they are published."""
