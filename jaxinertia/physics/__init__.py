"""What moves: potentials, kinetic energy, damping, noise, and the system that joins them."""
