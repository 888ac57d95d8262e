"""Modes of a free decay: y_j(t) = sum_k Re(c_jk e^{s_k t}) + offset_j.

`band` filters and thins, `start` says where a mode may be, `projection` refines poles, `growth` decides how many there
are, `colour` describes the residuals, `errors`, `halves`, `profile` and `shapes` say what the numbers are worth,
`doubts` says what is wrong, `search` puts them in a row.
"""

from .search import is_enough as is_enough
from .search import is_explained as is_explained
from .search import loses_power as loses_power
from .search import search as search
