"""How good a recogniser is: accuracy, score files, fusion of scores, comparison."""
