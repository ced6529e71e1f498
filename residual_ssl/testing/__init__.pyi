from .selector_contract import SHAPES as SHAPES
from .selector_contract import SelectorContract as SelectorContract
from .selector_contract import assert_same as assert_same
from .selector_contract import evidence_for as evidence_for
from .selector_contract import fields_of as fields_of
from .selector_contract import judge as judge
from .selector_contract import labels_for as labels_for
from .selector_contract import random_logits as random_logits

__all__ = [
    "SHAPES",
    "SelectorContract",
    "assert_same",
    "evidence_for",
    "fields_of",
    "judge",
    "labels_for",
    "random_logits",
]
