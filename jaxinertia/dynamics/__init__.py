"""How it moves: splittings as diffrax solvers, and the two ways to run them."""
