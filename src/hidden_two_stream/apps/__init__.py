"""The local application: a page to try, to compare, to label and to train."""
