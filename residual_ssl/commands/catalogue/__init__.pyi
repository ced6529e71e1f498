from .choices import GROUPS as GROUPS
from .choices import choices as choices
from .choices import choices_text as choices_text
from .explain import Explanation as Explanation
from .explain import explain as explain
from .explanation_text import explanation_text as explanation_text

__all__ = ["GROUPS", "Explanation", "choices", "choices_text", "explain", "explanation_text"]
