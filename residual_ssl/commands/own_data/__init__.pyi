from .own_data import OwnData as OwnData
from .own_data import WrittenChoices as WrittenChoices
from .own_data import write_choices as write_choices

__all__ = ["OwnData", "WrittenChoices", "write_choices"]
