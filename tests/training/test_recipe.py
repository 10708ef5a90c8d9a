import pytest

from fmnet.errors import ConfigError
from fmnet.training.recipe import Recipe


def test_all_wrong_values_are_named_at_once():
    with pytest.raises(ConfigError, match=r"(?s)task\.learning_rate.*task\.max_epochs"):
        Recipe(learning_rate=0.0, max_epochs=0)


def test_defaults_are_valid():
    assert Recipe().max_epochs >= 1
