from .facts import DataFacts as DataFacts
from .facts import SubsetFacts as SubsetFacts
from .facts import facts_text as facts_text
from .look import look as look

__all__ = ["DataFacts", "SubsetFacts", "facts_text", "look"]
