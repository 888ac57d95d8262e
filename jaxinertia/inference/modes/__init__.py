"""Several motions in one record: frequency, damping and shape of every mode, each with its error.

How the parts fit together: `entry.modes` checks what was asked, `record` makes of `Observations` plain runs of numbers,
and decides nothing. One of two halves then looks for the modes, each with the same signature
(record, count, band) -> `found.Found`: `free` for a free decay, `noise` for a motion that noise drives. `Found` is the
interface: values, one covariance of (gamma_1 .. gamma_K, frequency_1 .. frequency_K), shapes, the table of orders, the
profiles and the checks. `result.Modes` is what the user holds: `Found` in order of frequency, data only, with what
follows from it. `words` prints it, `saved` reads and writes its file.

Everything here is NumPy in float64: a search over the number of modes has another shape at every step.
"""
