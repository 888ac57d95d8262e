"""float64, and every shape annotation of the package checked at run time, before anything imports it."""

import jax
import jaxtyping
import pytest
from jaxtyping import install_import_hook

jax.config.update("jax_enable_x64", True)
install_import_hook("jaxinertia", "beartype.beartype")


@pytest.fixture
def without_type_checks():
    """As users have it: wrong types reach the package's own checks, instead of the annotations'."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
