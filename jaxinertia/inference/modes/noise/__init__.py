"""Modes of a motion that noise drives, from the spectral matrix of the record in bands.

How the parts fit together: `covariances` says what modes are in the readings' covariance, `likelihood` how likely a
spectral matrix is under it, with derivatives; `exact` the same for short records, whose frequencies are not independent.
`spectral` makes spectral matrices, bands and groups of a record; `subspace` finds starts, `ascent` climbs, `order` finds
how many modes a band holds. `search` is the whole way; `outcome` puts what it found in the words of `found`.
"""

from .search import search as search
