from .predictions import SHAPES as SHAPES
from .predictions import assert_same as assert_same
from .predictions import evidence_for as evidence_for
from .predictions import fields_of as fields_of
from .predictions import judge as judge
from .predictions import labels_for as labels_for
from .predictions import random_logits as random_logits
from .selector_contract import SelectorContract as SelectorContract
from .task_contract import TaskContract as TaskContract

__all__ = [
    "SHAPES",
    "SelectorContract",
    "TaskContract",
    "assert_same",
    "evidence_for",
    "fields_of",
    "judge",
    "labels_for",
    "random_logits",
]
