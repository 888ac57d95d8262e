"""The same from data: a recorded motion in, damping and stiffness with their errors out."""
