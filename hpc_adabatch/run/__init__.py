"""A recipe carried out: data, network, epochs, evaluation, checkpoints, result; and what it will do, foretold."""
