"""Modes of a motion that noise drives, from the spectral matrix of the record in bands.

How the parts fit together: `runs` takes even stretches out of a record, `spectral` makes spectral matrices under a
`taper`, bands and groups of them, and `lines` finds what is no motion. `covariances` says what modes are in the
readings' covariance, and `likelihood` how likely a spectral matrix is under it, with derivatives. `subspace`
finds starts, `ascent` climbs, `order` finds how many modes a band holds, and `joint` fits all bands together. `search`
is the whole way; `outcome` puts what it found in the words of `found`.
"""

from .search import search as search
