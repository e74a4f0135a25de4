"""The stages of a training run, in the order of their names' use: split, synthesize, train, evaluate, promote."""
