"""What people look at: plots, the paper, the command line."""
