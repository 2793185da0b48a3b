"""How good a recognizer is: accuracy, score files, fusion of scores, comparison."""
