"""A run in its folder, a script's or a recipe's: epochs, checkpoints, result; and what a recipe will do, foretold."""
