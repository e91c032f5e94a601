"""The rule language's conditions: their grammar, tree, printing and what can be told from the tree alone."""
