"""Where the energy goes: inertia, its balance, the invariants of discrete steps, and closed forms."""
